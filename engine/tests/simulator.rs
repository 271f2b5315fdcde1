//! Thousands of clients in virtual time: fast, slow and stuck ones of every policy, cut at random and coming back with
//! their last id, coming and going, while topics are closed, freed and opened again. At the end the accounts of
//! every client balance: each event that it wanted was delivered once, or told, or replaced by a newer value.
#![cfg(not(loom))]

#[path = "simulator/client.rs"]
mod client;
mod support;
#[path = "simulator/world.rs"]
mod world;

use world::World;

fn run(seed: u64, clients: usize, ticks: u64) {
    let mut world = World::new(seed, clients);
    for _ in 0..ticks {
        world.tick();
    }
    let (lapped, returned, ended) = (world.lapped, world.returned, world.ended);
    let accounts = world.finish();
    println!("seed {seed}: {accounts:?}, {lapped} lapped, {returned} connections, {ended} ended");
    assert_eq!(accounts.wanted, accounts.delivered + accounts.told + accounts.superseded);
    // The run was worth its time: everything that can happen has.
    assert!(accounts.clients >= clients as u64 && returned > accounts.clients, "{accounts:?}");
    assert!(lapped > 0 && ended > 0 && accounts.superseded > 0, "{accounts:?}");
    assert!(accounts.told > 0 && accounts.delivered > accounts.told, "{accounts:?}");
}

#[test]
fn the_accounts_of_5000_clients_balance() {
    run(1, 5000, 300);
}

#[test]
fn the_accounts_of_many_small_worlds_balance() {
    for seed in 2..22 {
        run(seed, 60, 400);
    }
}
