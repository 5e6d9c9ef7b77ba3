//! Token ids: in memory, or in a file as little-endian numbers of 2 or 4 bytes.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

/// Bytes of an id in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Width {
    /// For a vocabulary of at most 65,536 tokens.
    Two,
    /// For others.
    Four,
}

impl Width {
    /// The smaller one that holds every id below `vocab`.
    pub fn of(vocab: usize) -> Self {
        if vocab <= 1 << 16 {
            Width::Two
        } else {
            Width::Four
        }
    }

    /// In bytes.
    pub fn bytes(self) -> usize {
        match self {
            Width::Two => 2,
            Width::Four => 4,
        }
    }
}

/// The ids of a text.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TokenIds {
    /// In memory.
    Memory(Vec<u32>),
    /// In a file.
    File(MappedIds),
}

/// A part of a file that is mapped into memory: the system reads what is looked at, and forgets it
/// when memory is short.
#[derive(Debug, Clone)]
pub struct MappedIds {
    map: Arc<Mmap>,
    /// In bytes.
    range: Range<usize>,
    width: Width,
}

/// Ids to look at.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Ids<'a> {
    /// Ids in memory.
    Memory(&'a [u32]),
    /// Ids of two bytes in a file.
    Two(&'a [[u8; 2]]),
    /// Ids of four bytes in a file.
    Four(&'a [[u8; 4]]),
}

impl TokenIds {
    /// How many.
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that they take in a file, if they are in one.
    pub fn bytes_in_file(&self) -> Option<usize> {
        match self {
            TokenIds::Memory(_) => None,
            TokenIds::File(ids) => Some(ids.range.len()),
        }
    }

    /// The ids, to be looked at.
    pub fn view(&self) -> Ids<'_> {
        match self {
            TokenIds::Memory(ids) => Ids::Memory(ids),
            TokenIds::File(ids) => {
                let bytes = &ids.map[ids.range.clone()];
                match ids.width {
                    Width::Two => Ids::Two(bytes.as_chunks().0),
                    Width::Four => Ids::Four(bytes.as_chunks().0),
                }
            }
        }
    }
}

impl<'a> Ids<'a> {
    /// How many.
    pub fn len(self) -> usize {
        match self {
            Ids::Memory(ids) => ids.len(),
            Ids::Two(ids) => ids.len(),
            Ids::Four(ids) => ids.len(),
        }
    }

    /// Are there none?
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The one at `index`.
    ///
    /// # Panics
    /// If there is none.
    pub fn get(self, index: usize) -> u32 {
        match self {
            Ids::Memory(ids) => ids[index],
            Ids::Two(ids) => u16::from_le_bytes(ids[index]).into(),
            Ids::Four(ids) => u32::from_le_bytes(ids[index]),
        }
    }

    /// Some of them.
    ///
    /// # Panics
    /// If the range is outside.
    pub fn range(self, range: Range<usize>) -> Self {
        match self {
            Ids::Memory(ids) => Ids::Memory(&ids[range]),
            Ids::Two(ids) => Ids::Two(&ids[range]),
            Ids::Four(ids) => Ids::Four(&ids[range]),
        }
    }

    /// Is every one of them below `vocab`?
    pub fn are_below(self, vocab: usize) -> bool {
        let is_below = |id: u32| (id as usize) < vocab;
        match self {
            Ids::Memory(ids) => ids.iter().all(|id| is_below(*id)),
            Ids::Two(ids) => ids
                .iter()
                .all(|id| is_below(u16::from_le_bytes(*id).into())),
            Ids::Four(ids) => ids.iter().all(|id| is_below(u32::from_le_bytes(*id))),
        }
    }

    /// All of them, in order.
    pub fn to_vec(self) -> Vec<u32> {
        match self {
            Ids::Memory(ids) => ids.to_vec(),
            Ids::Two(ids) => ids
                .iter()
                .map(|id| u16::from_le_bytes(*id).into())
                .collect(),
            Ids::Four(ids) => ids.iter().map(|id| u32::from_le_bytes(*id)).collect(),
        }
    }
}

/// The ids of a text, and what of it is not in the vocabulary.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Part {
    /// The ids.
    pub ids: TokenIds,
    /// How many are `<unk>` because there is no other id for them.
    pub unknown: usize,
    /// Characters that were left out.
    pub skipped: usize,
}

impl Part {
    /// Tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Are there no tokens?
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// How many ids a text has, and what of it is not in the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Size {
    /// Ids.
    pub ids: u64,
    /// Those of unknown tokens.
    pub unknown: usize,
    /// Characters that were left out; never for a cache.
    #[serde(skip)]
    pub skipped: usize,
}

/// Texts whose ids lie one after the other in a file, from byte `begin` on.
pub fn parts(map: Arc<Mmap>, begin: usize, width: Width, sizes: [Size; 2]) -> [Part; 2] {
    let mut end = begin;
    sizes.map(|size| {
        let begin = end;
        end += size.ids as usize * width.bytes();
        Part {
            ids: TokenIds::File(MappedIds {
                map: map.clone(),
                range: begin..end,
                width,
            }),
            unknown: size.unknown,
            skipped: size.skipped,
        }
    })
}

/// Writes ids, which must fit the width.
///
/// # Errors
/// What the operating system said.
pub fn write(to: &mut impl Write, ids: &[u32], width: Width) -> std::io::Result<()> {
    for id in ids {
        // The low bytes come first.
        to.write_all(&id.to_le_bytes()[..width.bytes()])?;
    }
    Ok(())
}

/// Maps a file of ids.
///
/// # Errors
/// What the operating system said.
#[expect(unsafe_code, reason = "a file can change while it is mapped")]
pub fn map(file: &File) -> std::io::Result<Arc<Mmap>> {
    // SAFETY: a file that is cut off or changed while it is mapped would take the process down or
    // change ids under it. Ours are either temporary files without a name, which nobody else can
    // open, or caches that appear whole under their name and are never written again; that no other
    // program cuts one off in place is what the documentation of --token-cache asks for.
    let map = unsafe { Mmap::map(file)? };
    Ok(Arc::new(map))
}
