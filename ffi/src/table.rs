//! Handles: numbers dressed as pointers. They are looked up, never followed.
//!
//! ```text
//!   pointer (usize):  [ kind : 4 | process : 12 | generation : 28 | slot : 20 ]      (64-bit; half of each on 32-bit)
//! ```
//! So a handle that is freed, forged, of another kind, or of the process before a fork is an error and never a crash. A generation comes
//! again after 2^28 handles in the same slot's table.

use std::sync::Arc;

use ::fanfare_hub::engine::Code;
use parking_lot::RwLock;
use slab::Slab;

use crate::failure::Failure;

const SLOT_BITS: u32 = usize::BITS * 5 / 16;
const GENERATION_BITS: u32 = usize::BITS * 7 / 16;
const PROCESS_BITS: u32 = usize::BITS * 3 / 16;

/// What a handle names. Never 0, so that no handle is NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hub = 1,
    Config = 2,
    Batch = 3,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Hub => "hub",
            Kind::Config => "config",
            Kind::Batch => "batch",
        }
    }
}

/// The parts of a handle.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Parts {
    kind: usize,
    process: usize,
    generation: usize,
    slot: usize,
}

fn low(value: usize, bits: u32) -> usize {
    value & ((1 << bits) - 1)
}

impl Parts {
    fn to_bits(self) -> usize {
        ((self.kind << PROCESS_BITS | self.process) << GENERATION_BITS | self.generation) << SLOT_BITS
            | self.slot
    }

    fn from_bits(bits: usize) -> Parts {
        let (slot, rest) = (low(bits, SLOT_BITS), bits >> SLOT_BITS);
        let (generation, rest) = (low(rest, GENERATION_BITS), rest >> GENERATION_BITS);
        Parts { kind: rest >> PROCESS_BITS, process: low(rest, PROCESS_BITS), generation, slot }
    }
}

/// Things of one kind under their handles.
pub(crate) struct Table<T> {
    kind: Kind,
    process: usize,
    slots: RwLock<Slots<T>>,
}

struct Slots<T> {
    slab: Slab<(usize, Arc<T>)>,
    generation: usize,
}

impl<T> Table<T> {
    /// A table for the process of that number.
    pub(crate) fn new(kind: Kind, process: u32) -> Table<T> {
        let slots = RwLock::new(Slots { slab: Slab::new(), generation: 0 });
        Table { kind, process: low(process as usize, PROCESS_BITS), slots }
    }

    /// Adds a thing; gives its handle.
    pub(crate) fn insert<H>(&self, thing: Arc<T>) -> Result<*mut H, Failure> {
        let mut slots = self.slots.write();
        if slots.slab.vacant_key() >= 1 << SLOT_BITS {
            let name = self.kind.name();
            return Err(Failure::format(Code::Internal, move |f| {
                write!(f, "too many {name} handles are open")
            }));
        }
        slots.generation = low(slots.generation + 1, GENERATION_BITS);
        let generation = slots.generation;
        let slot = slots.slab.insert((generation, thing));
        let parts = Parts { kind: self.kind as usize, process: self.process, generation, slot };
        Ok(std::ptr::without_provenance_mut(parts.to_bits()))
    }

    /// What the handle names.
    pub(crate) fn find<H>(&self, handle: *const H) -> Result<Arc<T>, Failure> {
        let parts = self.check(handle)?;
        let slots = self.slots.read();
        match slots.slab.get(parts.slot) {
            Some((generation, thing)) if *generation == parts.generation => Ok(Arc::clone(thing)),
            _ => Err(stale(self.kind)),
        }
    }

    /// Takes it out: the handle is stale from now on.
    pub(crate) fn remove<H>(&self, handle: *const H) -> Result<Arc<T>, Failure> {
        let parts = self.check(handle)?;
        let mut slots = self.slots.write();
        match slots.slab.get(parts.slot) {
            Some((generation, _)) if *generation == parts.generation => Ok(slots.slab.remove(parts.slot).1),
            _ => Err(stale(self.kind)),
        }
    }

    fn check<H>(&self, handle: *const H) -> Result<Parts, Failure> {
        let parts = Parts::from_bits(handle.addr());
        if handle.is_null() {
            Err(Failure::null(self.kind.name()))
        } else if parts.kind != self.kind as usize {
            Err(stale(self.kind))
        } else if parts.process != self.process {
            Err(forked(self.kind))
        } else {
            Ok(parts)
        }
    }
}

pub(crate) fn stale(kind: Kind) -> Failure {
    Failure::format(Code::StaleHandle, move |f| {
        write!(f, "this {} handle names nothing: freed, or never given out", kind.name())
    })
}

pub(crate) fn forked(kind: Kind) -> Failure {
    let name = kind.name();
    Failure::format(Code::Forked, move |f| {
        write!(
            f,
            "this {name} belongs to the process before a fork: start a hub in the child, after the fork"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_living_handle_finds_its_thing() {
        let table = Table::new(Kind::Hub, 1);
        let first: *mut u8 = table.insert(Arc::new(1)).expect("room");
        assert_eq!(table.find(first).as_deref().ok(), Some(&1));
        assert_eq!(table.remove(first).as_deref().ok(), Some(&1));
        let second: *mut u8 = table.insert(Arc::new(2)).expect("room");
        assert_ne!(first, second, "the slot is the same, the handle is not");
        let code = |handle: *const u8| table.find(handle).expect_err("nothing there").code();
        assert_eq!(code(first), Code::StaleHandle);
        assert_eq!(code(std::ptr::null()), Code::NullPointer);
        for forged in [1, 2, second.addr() ^ 1 << SLOT_BITS, second.addr() + 1, usize::MAX] {
            assert_eq!(code(std::ptr::without_provenance(forged)), Code::StaleHandle, "{forged:x}");
        }
    }

    #[test]
    fn handles_of_others_are_told_apart() {
        let (parent, child) = (Table::<i32>::new(Kind::Hub, 1), Table::<i32>::new(Kind::Hub, 2));
        let configs = Table::<i32>::new(Kind::Config, 1);
        let hub: *mut u8 = parent.insert(Arc::new(1)).expect("room");
        assert_eq!(child.find(hub).expect_err("forked").code(), Code::Forked);
        assert_eq!(configs.find(hub).expect_err("another kind").code(), Code::StaleHandle);
    }
}
