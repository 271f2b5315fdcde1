//! With real sockets, and with kernels that refuse: seccomp filters of the test's own thread.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;

use super::*;

/// Where a 64-bit program's system call number is, in what a filter sees.
const NUMBER_AT: u32 = 0;

/// What a ring asks of the kernel: IORING_SETUP_SUBMIT_ALL, _SINGLE_ISSUER and _DEFER_TASKRUN.
const FLAGS: u32 = 1 << 7 | 1 << 12 | 1 << 13;

/// A ring; or none, where the kernel itself refuses to whoever asks it: a container, or an old one.
fn ring() -> Option<Ring> {
    let error = match Ring::new() {
        Ok(ring) => return Some(ring),
        Err(error) => error,
    };
    // struct io_uring_params: 30 words, of which the third has the flags.
    let mut parameters = [0u32; 30];
    parameters[2] = FLAGS;
    // SAFETY: the kernel reads and writes the 120 bytes of the parameters.
    let made = unsafe { libc::syscall(libc::SYS_io_uring_setup, 8, parameters.as_mut_ptr()) };
    let refusal = io::Error::last_os_error();
    assert_eq!((made, refusal.raw_os_error()), (-1, error.raw_os_error()), "{error}");
    None
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let theirs = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let (ours, _) = listener.accept().expect("a connection waits");
    ours.set_nonblocking(true).expect("settable");
    (ours, theirs)
}

fn read(mut socket: &TcpStream, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    socket.read_exact(&mut bytes).expect("they were sent");
    bytes
}

/// From here on the kernel answers `call` with `errno` to this thread and those that it starts.
fn forbid(call: libc::c_long, errno: libc::c_int) {
    let statement = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, NUMBER_AT),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: plain numbers; the kernel copies the filter, which lives until then, and does not write to it.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    assert!(done, "{}", io::Error::last_os_error());
}

/// The same bytes for each of them.
fn each<'s>(
    sockets: impl IntoIterator<Item = BorrowedFd<'s>>,
    bytes: &'s [u8],
) -> impl Iterator<Item = (BorrowedFd<'s>, &'s [u8])> {
    sockets.into_iter().map(move |socket| (socket, bytes))
}

#[test]
fn every_socket_gets_the_bytes_once() {
    let Some(mut ring) = ring() else { return };
    let pairs: Vec<_> = (0..MOST + 3).map(|_| pair()).collect();
    for round in 0..50u32 {
        let bytes = format!("round {round};");
        let sockets: Vec<_> = pairs.iter().map(|(ours, _)| ours.as_fd()).collect();
        for some in sockets.chunks(100) {
            assert_eq!(
                ring.send(each(some.iter().copied(), bytes.as_bytes())),
                vec![bytes.len(); some.len()]
            );
        }
        for (_, theirs) in &pairs {
            assert_eq!(read(theirs, bytes.len()), bytes.as_bytes());
        }
    }
    let taken = ring.send(each(pairs.iter().map(|(ours, _)| ours.as_fd()), b"x")).len();
    assert_eq!(taken, MOST, "more are for the next call");
    assert_eq!(ring.send(each([], b"x")), [0; 0]);
    assert_eq!(ring.send(each([pairs[0].0.as_fd()], b"")), [0]);
    assert!(!ring.is_broken());
}

#[test]
fn what_a_full_socket_took_is_counted_exactly_and_holds_up_nobody() {
    let Some(mut ring) = ring() else { return };
    let (full, good) = (pair(), pair());
    let block: Vec<u8> = (0..1 << 20).map(|n: u32| n as u8).collect();
    let (mut sent, mut parts, mut nothing) = (0, 0, 0);
    while nothing < 3 {
        let (from_full, from_good) =
            match ring.send(each([full.0.as_fd(), good.0.as_fd()], &block[sent % 256..][..300_001])) {
                [full, good] => (*full, *good),
                other => panic!("two answers, not {other:?}"),
            };
        sent += from_full;
        parts += usize::from(from_full > 0 && from_full < 300_001);
        nothing += usize::from(from_full == 0);
        assert!(from_good > 0, "it is read at once");
        read(&good.1, from_good);
    }
    assert!(parts > 0, "at some point a part fitted");
    full.0.shutdown(std::net::Shutdown::Write).expect("connected");
    let mut got = Vec::new();
    (&full.1).read_to_end(&mut got).expect("it ends");
    assert_eq!(got.len(), sent);
    assert!(got.iter().enumerate().all(|(at, &byte)| byte == at as u8), "in order, none twice, none missing");
    assert!(!ring.is_broken());
}

#[test]
fn what_cannot_take_bytes_takes_none_and_the_next_one_does() {
    let Some(mut ring) = ring() else { return };
    let (good, dead) = (pair(), pair());
    // Unread bytes make the kernel reset the connection instead of ending it.
    (&dead.0).write_all(b"unread").expect("it has room");
    read(&dead.1, 1);
    drop(dead.1);
    let null = File::open("/dev/null").expect("it is there");
    let sockets = || [dead.0.as_fd(), null.as_fd(), dead.0.as_fd(), good.0.as_fd()];
    assert_eq!(ring.send(each(sockets(), b"one")), [0, 0, 0, 3]);
    assert_eq!(ring.send(each(sockets(), b"two")), [0, 0, 0, 3]);
    assert_eq!(read(&good.1, 6), b"onetwo");
    assert!(!ring.is_broken());
}

#[test]
fn a_kernel_that_forbids_it_says_so() {
    let refused = thread::spawn(|| {
        forbid(libc::SYS_io_uring_setup, libc::EPERM);
        Ring::new().err().and_then(|error| error.raw_os_error())
    });
    assert_eq!(refused.join().expect("no panic"), Some(libc::EPERM));
}

#[test]
fn a_ring_that_breaks_says_that_nothing_was_sent_and_stays_broken() {
    for errno in [libc::EPERM, libc::ENOMEM, libc::EAGAIN] {
        let test = move || {
            let Some(mut ring) = ring() else { return };
            let (ours, theirs) = pair();
            assert_eq!(ring.send(each([ours.as_fd()], b"before")), [6]);
            forbid(libc::SYS_io_uring_enter, errno);
            assert_eq!(ring.send(each([ours.as_fd(), ours.as_fd()], b"lost")), [0, 0]);
            assert!(ring.is_broken());
            assert_eq!(ring.send(each([ours.as_fd()], b"lost")), [0]);
            drop(ring);
            drop(ours);
            let mut got = String::new();
            (&theirs).read_to_string(&mut got).expect("it ends");
            assert_eq!(got, "before");
        };
        thread::spawn(test).join().expect("no panic");
    }
}

#[test]
fn a_program_that_is_started_does_not_inherit_it() {
    let Some(ring) = ring() else { return };
    // SAFETY: asks for the flags of a descriptor that is open.
    let flags = unsafe { libc::fcntl(ring.ring.as_raw_fd(), libc::F_GETFD) };
    assert_ne!(flags & libc::FD_CLOEXEC, 0);
}

#[test]
fn each_socket_gets_its_own_bytes() {
    let Some(mut ring) = ring() else { return };
    let pairs: Vec<_> = (0..MOST).map(|_| pair()).collect();
    let texts: Vec<String> = (0..MOST).map(|n| "x".repeat(n % 7) + &n.to_string()).collect();
    // One without bytes in between.
    let sends = pairs
        .iter()
        .zip(&texts)
        .map(|((ours, _), text)| (ours.as_fd(), if text == "100" { &b""[..] } else { text.as_bytes() }));
    let lengths: Vec<usize> = texts.iter().map(|text| if text == "100" { 0 } else { text.len() }).collect();
    assert_eq!(ring.send(sends), lengths);
    for ((_, theirs), text) in pairs.iter().zip(&texts).filter(|(_, text)| *text != "100") {
        assert_eq!(read(theirs, text.len()), text.as_bytes());
    }
}
