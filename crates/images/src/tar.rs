//! Tar: entries out of a stream, and entries into one.
//!
//! Owns the formats (ustar, GNU long names and sparse maps, pax) with a bound on everything that
//! is held in memory. Knows nothing of file systems or layers. A reader of our own because the
//! crate at hand reads extension headers of any length into memory and lacks pax sparse maps.
//! Source: POSIX.1-2008 pax; GNU tar manual, "Sparse Formats" and "Basic Tar Format".

mod header;
mod pax;
mod reader;
mod writer;

pub(crate) use reader::{Entry, Kind, Reader};
pub(crate) use writer::Writer;

/// One record of the archive.
const BLOCK: usize = 512;

#[cfg(test)]
mod tests;
