//! Fanfare hub.
