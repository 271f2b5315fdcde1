//! Fanfare engine.
