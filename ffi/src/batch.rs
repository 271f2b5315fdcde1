//! Batches: items that a drain or pull has given, until they are freed.

use ::fanfare_hub::engine::Code;

use crate::failure::Failure;
use crate::item::{Items, fanfare_item};

/// The structure as this library knows it. When it grows, callers that say a smaller size get items of that size.
const ITEM: usize = size_of::<fanfare_item>();

/// What a batch handle names.
pub(crate) struct Batch(Items);

impl Batch {
    pub(crate) fn new(items: Items) -> Batch {
        Batch(items)
    }

    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        self.0.as_slice().len()
    }

    /// The first item, in steps of `size` bytes, which is what the caller's header says.
    pub(crate) fn first(&self, size: usize) -> Result<*const fanfare_item, Failure> {
        if size == ITEM {
            return Ok(self.0.as_slice().as_ptr());
        }
        let code = if size > ITEM { Code::TooNew } else { Code::InvalidParameter };
        Err(Failure::format(code, move |f| {
            write!(f, "item_size is {size}, this library's fanfare_item has {ITEM} bytes")
        }))
    }
}
