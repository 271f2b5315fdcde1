//! What the fuzz targets share: oracles that say what the engine ought to have answered.

pub mod reference;
