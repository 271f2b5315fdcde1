//! `META`: what names the store, and how far its sequence has been reserved.
//!
//! A text file of a few lines, replaced as a whole. Positions are given out only below `reserved`, and `reserved` is on
//! disk before; after an unclean stop the sequence goes on behind it, so that no position is ever given out twice,
//! whatever was lost.

use std::path::{Path, PathBuf};

use fanfare_engine::Epoch;

use crate::disk::{Disk, Mode};
use crate::error::{Error, ErrorKind, Result};

/// The version of the layout of a store's folder. Higher ones are refused; lower ones are read, see [`Meta::read`].
pub(crate) const VERSION: u32 = 1;
const NAME: &str = "META";
/// The longest file that is read.
const MAX_BYTES: usize = 4096;

/// What `META` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) epoch: Epoch,
    /// Begins every checksum of the store.
    pub(crate) salt: u64,
    /// No position from here on has been given out.
    pub(crate) reserved: u64,
    /// After a clean stop: position of the last event, and the next position.
    pub(crate) clean: Option<(u64, u64)>,
    /// Events may have been answered before they were on disk.
    pub(crate) weak: bool,
}

impl Meta {
    /// Reads the file; `None` if there is none, which is a new store. A later version that changes the layout reads
    /// the older forms here, and the rest of the crate sees the newest only.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(NAME);
        let file = match disk.open(&path, Mode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open it", &path, None, &error)),
        };
        let mut bytes = vec![0; MAX_BYTES];
        let len = file.read_at(&mut bytes, 0).map_err(|e| Error::io("read it", &path, Some(0), &e))?;
        bytes.truncate(len);
        let version = bytes
            .strip_prefix(b"fanfare store ")
            .and_then(|rest| rest.split(|&b| b == b'\n').next())
            .and_then(|digits| str::from_utf8(digits).ok())
            .and_then(|digits| digits.parse::<u32>().ok());
        match version {
            Some(version) if version > VERSION => Err(Error::new(
                ErrorKind::NewerVersion,
                &path,
                None,
                format!("it is of version {version}; this program reads up to {VERSION}"),
            )),
            Some(VERSION) => match Self::parse(&bytes) {
                Some(meta) => Ok(Some(meta)),
                None => Err(Error::corrupt(&path, 0, "its checksum or form is wrong")),
            },
            _ => Err(Error::corrupt(&path, 0, "it does not begin as the META file of a store")),
        }
    }

    /// Replaces the file; it is on disk when this returns.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        replace(disk, dir, NAME, self.show().as_bytes())
    }

    fn show(&self) -> String {
        let (last, next) = self.clean.unwrap_or_default();
        let text = format!(
            "fanfare store {VERSION}\nepoch {}\nsalt {:016x}\nreserved {}\nlast {last}\nnext {next}\nweak {}\n",
            self.epoch.as_str(),
            self.salt,
            self.reserved,
            u8::from(self.weak)
        );
        let sum = crc32fast::hash(text.as_bytes());
        format!("{text}checksum {sum:08x}\n")
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        let mut lines = text.lines().skip(1);
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let epoch = Epoch::parse(field("epoch")?).ok()?;
        let salt = u64::from_str_radix(field("salt")?, 16).ok()?;
        let reserved = field("reserved")?.parse().ok()?;
        let last = field("last")?.parse().ok()?;
        let next: u64 = field("next")?.parse().ok()?;
        let weak = field("weak")? == "1";
        let meta = Self { epoch, salt, reserved, clean: (next != 0).then_some((last, next)), weak };
        // The one spelling that this version writes, checksum included.
        (meta.show() == text).then_some(meta)
    }
}

/// Puts a file in place, whole or not at all; it is on disk when this returns.
pub(crate) fn replace(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let prepared = replace_prepared(disk, dir, name, bytes)?;
    put_in_place(disk, dir, name, &prepared)
}

/// The first half of [`replace`], which may take its time: the file is on disk, beside the one it is to replace.
pub(crate) fn replace_prepared(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let path = dir.join(name);
    let temporary = temporary(&path);
    let fail = |action: &'static str| move |error| Error::io(action, &path, None, &error);
    let file = disk.open(&temporary, Mode::Create).map_err(fail.clone()("make it anew"))?;
    file.write_at(bytes, 0).map_err(fail.clone()("write it"))?;
    file.sync().map_err(fail("sync it"))?;
    Ok(temporary)
}

/// The second half.
pub(crate) fn put_in_place(disk: &dyn Disk, dir: &Path, name: &str, prepared: &Path) -> Result<()> {
    let path = dir.join(name);
    disk.rename(prepared, &path).map_err(|error| Error::io("put it in place", &path, None, &error))?;
    disk.sync_dir(dir).map_err(|error| Error::io("sync its folder", &path, None, &error))
}

fn temporary(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_and_no_other() {
        let epoch = Epoch::parse("abc").expect("an epoch");
        let meta = Meta { epoch, salt: 5, reserved: 9, clean: Some((3, 4)), weak: true };
        assert_eq!(Meta::parse(meta.show().as_bytes()), Some(meta.clone()));
        let text = meta.show().into_bytes();
        for at in 0..text.len() {
            let mut bad = text.clone();
            bad[at] ^= 1;
            assert_eq!(Meta::parse(&bad).filter(|_| at > "fanfare store 1".len()), None, "byte {at}");
            assert_eq!(Meta::parse(&text[..at]), None, "cut at {at}");
        }
    }
}
