//! Looks an update over before `yrs` sees it: shape, counts, lengths and nesting. An update is what a stranger sent;
//! this walk allocates little, never recurses deep, and refuses what could make the library panic, overflow a
//! stack or reserve memory that the bytes do not pay for.

use std::collections::HashSet;

/// Largest update, bytes.
pub const UPDATE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most blocks in one update.
pub const BLOCKS_MAX: usize = 1_000_000;
/// How deep elements may be nested.
pub const DEPTH_MAX: usize = 256;
/// How deep a value (an array in an array …) may be nested.
const VALUE_DEPTH_MAX: usize = 64;
/// Clocks stay below this, so that sums never overflow.
const CLOCK_MAX: u64 = 1 << 31;
/// Client identifiers are whole numbers that JavaScript can hold.
const CLIENT_MAX: u64 = 1 << 53;

const INFO_SKIP: u8 = 10;
const INFO_GC: u8 = 0;
const HAS_ORIGIN: u8 = 0x80;
const HAS_RIGHT_ORIGIN: u8 = 0x40;
const HAS_PARENT_SUB: u8 = 0x20;
const CONTENT_MASK: u8 = 0x0f;
const TYPE_XML_ELEMENT: u8 = 3;
const TYPE_XML_TEXT: u8 = 6;

/// Why an update is refused; the document is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    #[error("it has {0} bytes, more than {UPDATE_BYTES_MAX}; send it in parts")]
    TooLarge(usize),
    #[error("it has more than {BLOCKS_MAX} blocks; send it in parts")]
    TooManyBlocks,
    #[error("it nests elements or values too deep (elements {DEPTH_MAX}, values {VALUE_DEPTH_MAX})")]
    TooDeep,
    #[error("it is no Yjs v1 update: {what} at byte {at}")]
    Malformed { what: &'static str, at: usize },
    #[error("it holds {0}, which documents do not have")]
    Foreign(&'static str),
    #[error("it does not fit the document: {0}")]
    Unfit(String),
    #[error("it builds on changes that never reached this server; open the document again")]
    Missing,
}

/// An item's place: client and clock.
pub type Id = (u64, u32);

/// What an update holds, as far as it matters.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Elements and texts that it adds.
    pub types: usize,
    /// The items that it names as parents of elements and texts.
    pub parents: Vec<Id>,
    /// Per client where what it adds or deletes ends.
    pub ends: Vec<Id>,
    /// How many clocks it adds, and how many it deletes.
    pub adds: u64,
    pub deletes: u64,
}

/// Looks an update over.
pub fn check(bytes: &[u8]) -> Result<Shape, UpdateError> {
    if bytes.len() > UPDATE_BYTES_MAX {
        return Err(UpdateError::TooLarge(bytes.len()));
    }
    let mut walk = Walk { bytes, at: 0 };
    let mut found = Found::default();
    let clients = walk.count("number of clients")?;
    for _ in 0..clients {
        let blocks = walk.count("number of blocks")?;
        let client = walk.client()?;
        let mut clock = walk.clock()?;
        if !found.clients.insert(client) {
            return Err(walk.wrong("a client that is there twice"));
        }
        found.blocks += blocks;
        if found.blocks > BLOCKS_MAX {
            return Err(UpdateError::TooManyBlocks);
        }
        let mut end = None;
        for _ in 0..blocks {
            let (len, skipped) = walk.block((client, clock), &mut found)?;
            clock = walk.sum(clock, len)?;
            if !skipped {
                end = Some((client, clock));
                found.shape.adds += u64::from(len);
            }
        }
        found.shape.ends.extend(end);
    }
    walk.deletions(&mut found.shape)?;
    if walk.at != bytes.len() {
        return Err(walk.wrong("bytes after its end"));
    }
    if found.shape.types >= DEPTH_MAX {
        nesting(&mut found.items)?;
    }
    Ok(found.shape)
}

/// Checks a state vector.
pub fn check_vector(bytes: &[u8]) -> Result<(), UpdateError> {
    let mut walk = Walk { bytes, at: 0 };
    for _ in 0..walk.count("number of clients")? {
        walk.client()?;
        walk.clock()?;
    }
    if walk.at == bytes.len() { Ok(()) } else { Err(walk.wrong("bytes after its end")) }
}

#[derive(Default)]
struct Found {
    clients: HashSet<u64>,
    blocks: usize,
    shape: Shape,
    /// Every item, for the depth of what is nested.
    items: Vec<Item>,
}

struct Item {
    id: Id,
    len: u32,
    /// The item whose depth decides this one's: one more than a parent's, the same as a neighbour's.
    link: Option<(Id, bool)>,
    depth: Option<usize>,
}

/// Fails when the items are nested deeper than allowed, counting only parents within the update.
fn nesting(items: &mut [Item]) -> Result<(), UpdateError> {
    items.sort_unstable_by_key(|item| item.id);
    let find = |items: &[Item], id: Id| {
        let after = items.partition_point(|item| item.id <= id);
        let index = after.checked_sub(1)?;
        let item = items.get(index)?;
        (item.id.0 == id.0 && id.1 - item.id.1 < item.len.max(1)).then_some(index)
    };
    let mut trail: Vec<(usize, usize)> = Vec::new();
    for start in 0..items.len() {
        let mut at = start;
        // Up until something is known, or leads out of the update, or in a circle.
        let mut depth = loop {
            let Some(item) = items.get_mut(at) else { break 0 };
            if let Some(depth) = item.depth {
                break depth;
            }
            item.depth = Some(0);
            let Some((link, is_parent)) = item.link else { break 0 };
            trail.push((at, usize::from(is_parent)));
            match find(items, link) {
                Some(next) => at = next,
                None => break 0,
            }
        };
        while let Some((index, more)) = trail.pop() {
            depth += more;
            if depth > DEPTH_MAX {
                return Err(UpdateError::TooDeep);
            }
            if let Some(item) = items.get_mut(index) {
                item.depth = Some(depth);
            }
        }
    }
    Ok(())
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn wrong(&self, what: &'static str) -> UpdateError {
        UpdateError::Malformed { what, at: self.at }
    }

    fn byte(&mut self) -> Result<u8, UpdateError> {
        let byte = self.bytes.get(self.at).copied().ok_or_else(|| self.wrong("its end comes too early"))?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, len: u64) -> Result<(), UpdateError> {
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len));
        match end.filter(|end| *end <= self.bytes.len()) {
            Some(end) => {
                self.at = end;
                Ok(())
            }
            None => Err(self.wrong("its end comes too early")),
        }
    }

    /// A variable-length whole number.
    fn number(&mut self) -> Result<u64, UpdateError> {
        const BITS: u32 = 7;
        let mut value: u64 = 0;
        for shift in (0..u64::BITS).step_by(BITS as usize) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.wrong("a number that is too long"))
    }

    /// A signed one; the library shifts too far on longer ones.
    fn signed(&mut self) -> Result<(), UpdateError> {
        const BYTES_MAX: usize = 9;
        for _ in 0..BYTES_MAX {
            if self.byte()? < 0x80 {
                return Ok(());
            }
        }
        Err(self.wrong("a number that is too long"))
    }

    /// A count of things that take at least a byte each.
    fn count(&mut self, what: &'static str) -> Result<usize, UpdateError> {
        let count = self.number()?;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= self.bytes.len() - self.at)
            .ok_or_else(|| self.wrong(what))
    }

    fn client(&mut self) -> Result<u64, UpdateError> {
        let client = self.number()?;
        if client < CLIENT_MAX {
            Ok(client)
        } else {
            Err(self.wrong("a client identifier that is too large"))
        }
    }

    fn clock(&mut self) -> Result<u32, UpdateError> {
        let clock = self.number()?;
        if clock >= CLOCK_MAX {
            return Err(self.wrong("a clock that is too large"));
        }
        u32::try_from(clock).map_err(|_| self.wrong("a clock that is too large"))
    }

    fn sum(&self, clock: u32, len: u32) -> Result<u32, UpdateError> {
        let sum = u64::from(clock) + u64::from(len);
        if sum >= CLOCK_MAX {
            return Err(self.wrong("a clock that is too large"));
        }
        u32::try_from(sum).map_err(|_| self.wrong("a clock that is too large"))
    }

    fn id(&mut self) -> Result<Id, UpdateError> {
        Ok((self.client()?, self.clock()?))
    }

    fn text(&mut self) -> Result<&str, UpdateError> {
        let len = self.number()?;
        let from = self.at;
        self.skip(len)?;
        let text = self.bytes.get(from..self.at).and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.ok_or(UpdateError::Malformed { what: "text that is not UTF-8", at: from })
    }

    /// One block; gives how many clocks it covers, and whether it only skips them.
    fn block(&mut self, id: Id, found: &mut Found) -> Result<(u32, bool), UpdateError> {
        let info = self.byte()?;
        if info == INFO_SKIP || info == INFO_GC {
            let len = self.clock()?;
            return if len == 0 { Err(self.wrong("an empty block")) } else { Ok((len, info == INFO_SKIP)) };
        }
        let origin = if info & HAS_ORIGIN == 0 { None } else { Some(self.id()?) };
        let right = if info & HAS_RIGHT_ORIGIN == 0 { None } else { Some(self.id()?) };
        let mut parent = None;
        if origin.is_none() && right.is_none() {
            if self.number()? == 1 {
                self.text()?;
            } else {
                parent = Some(self.id()?);
            }
            if info & HAS_PARENT_SUB != 0 {
                self.text()?;
            }
        }
        let (len, is_type) = self.content(info & CONTENT_MASK)?;
        if is_type {
            found.shape.types += 1;
            found.shape.parents.extend(parent);
        }
        let link = parent.map(|id| (id, true)).or_else(|| origin.or(right).map(|id| (id, false)));
        found.items.push(Item { id, len, link, depth: None });
        Ok((len, false))
    }

    /// The content of an item: how many clocks, and whether it is an element or a text.
    fn content(&mut self, kind: u8) -> Result<(u32, bool), UpdateError> {
        Ok(match kind {
            1 => (self.clock()?, false),
            3 => {
                let len = self.number()?;
                self.skip(len)?;
                (1, false)
            }
            4 => {
                let units = self.text()?.encode_utf16().count();
                (u32::try_from(units).map_err(|_| self.wrong("a text that is too long"))?, false)
            }
            5 => {
                self.text()?;
                (1, false)
            }
            6 => {
                self.text()?;
                self.text()?;
                (1, false)
            }
            7 => match self.byte()? {
                TYPE_XML_ELEMENT => {
                    self.text()?;
                    (1, true)
                }
                TYPE_XML_TEXT => (1, true),
                0..=9 => return Err(UpdateError::Foreign("a shared type other than XML elements and texts")),
                _ => return Err(self.wrong("an unknown shared type")),
            },
            8 => {
                let count = self.count("number of values")?;
                for _ in 0..count {
                    self.value()?;
                }
                (u32::try_from(count).map_err(|_| self.wrong("number of values"))?, false)
            }
            2 => return Err(UpdateError::Foreign("content of the old JSON kind")),
            9 => return Err(UpdateError::Foreign("a document in the document")),
            _ => return Err(self.wrong("an unknown kind of content")),
        })
    }

    /// One value, with what is in it.
    fn value(&mut self) -> Result<(), UpdateError> {
        // What is left to read at each level: values, and whether each has a key before it.
        let mut open: Vec<(usize, bool)> = vec![(1, false)];
        while let Some((left, keyed)) = open.last_mut() {
            if *left == 0 {
                open.pop();
                continue;
            }
            *left -= 1;
            if *keyed {
                self.text()?;
            }
            match self.byte()? {
                120 | 121 | 126 | 127 => {}
                125 => self.signed()?,
                124 => self.skip(4)?,
                122 | 123 => self.skip(8)?,
                119 => drop(self.text()?.len()),
                116 => {
                    let len = self.number()?;
                    self.skip(len)?;
                }
                kind @ (117 | 118) => {
                    let count = self.count("number of values")?;
                    open.push((count, kind == 118));
                    if open.len() > VALUE_DEPTH_MAX {
                        return Err(UpdateError::TooDeep);
                    }
                }
                _ => return Err(self.wrong("an unknown kind of value")),
            }
        }
        Ok(())
    }

    fn deletions(&mut self, shape: &mut Shape) -> Result<(), UpdateError> {
        let clients = self.count("number of clients with deletions")?;
        for _ in 0..clients {
            let client = self.client()?;
            let mut end = 0;
            for _ in 0..self.count("number of deletions")? {
                let clock = self.clock()?;
                let len = self.clock()?;
                end = self.sum(clock, len)?.max(end);
                shape.deletes += u64::from(len);
            }
            shape.ends.push((client, end));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A chain of `depth` elements, each in the one before, as one update of client 1.
    fn chain(depth: u8) -> Vec<u8> {
        let mut bytes = vec![1, depth, 1, 0];
        for n in 0..depth {
            // Content type 7 with an explicit parent: the fragment, or the element before.
            bytes.push(7);
            if n == 0 {
                bytes.extend_from_slice(&[1, 3, b'x', b'm', b'l']);
            } else {
                bytes.extend_from_slice(&[0, 1, n - 1]);
            }
            bytes.extend_from_slice(&[3, 1, b'e']);
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn an_update_tells_its_shape() {
        let shape = check(&chain(3)).unwrap();
        assert_eq!(
            shape,
            Shape { types: 3, parents: vec![(1, 0), (1, 1)], ends: vec![(1, 3)], adds: 3, deletes: 0 }
        );
        assert_eq!(check(&[0, 0]).unwrap(), Shape::default());
    }

    #[test]
    fn counts_that_the_bytes_do_not_pay_for_are_refused() {
        for bytes in [
            &[0xff, 0xff, 0xff, 0xff, 0x0f][..],
            &[1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 0],
            &[1, 1, 1, 0, 8, 1, 1, b'a', 0xff, 0xff, 0x7f],
            &[0, 0xff, 0xff, 0x7f],
            &[1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 1, 0],
            &[1, 1, 1, 0, 0, 0, 0],
            &[2, 0, 1, 0, 0, 1, 0, 0],
            &[0, 0, 0],
            &[],
        ] {
            assert!(matches!(check(bytes), Err(UpdateError::Malformed { .. })), "{bytes:?}");
        }
        assert_eq!(check(&vec![0; UPDATE_BYTES_MAX + 1]), Err(UpdateError::TooLarge(UPDATE_BYTES_MAX + 1)));
    }

    #[test]
    fn what_documents_do_not_hold_is_refused() {
        let with = |content: &[u8]| [&[1, 1, 1, 0, content[0], 1, 1, b'a'], &content[1..], &[0]].concat();
        for content in [&[7u8, 0][..], &[7, 1], &[7, 2], &[9, 0], &[2, 1, 0]] {
            assert!(matches!(check(&with(content)), Err(UpdateError::Foreign(_))), "{content:?}");
        }
        let mut deep = vec![8, 1];
        deep.extend(std::iter::repeat_n([117, 1], VALUE_DEPTH_MAX).flatten());
        deep.push(126);
        assert_eq!(check(&with(&deep)), Err(UpdateError::TooDeep));
    }

    #[test]
    fn elements_nested_too_deep_are_refused_also_around_corners() {
        let items = |depth: usize, sideways: bool| {
            let mut items: Vec<Item> = Vec::new();
            for n in 0..u32::try_from(depth).unwrap() {
                let before = n.checked_sub(1);
                items.push(Item {
                    id: (1, n * 2),
                    len: 1,
                    link: before.map(|b| ((1, b * 2 + u32::from(sideways)), true)),
                    depth: None,
                });
                // A neighbour of it, in which the next one lies.
                items.push(Item { id: (1, n * 2 + 1), len: 1, link: Some(((1, n * 2), false)), depth: None });
            }
            items
        };
        for sideways in [false, true] {
            assert_eq!(nesting(&mut items(DEPTH_MAX, sideways)), Ok(()));
            assert_eq!(nesting(&mut items(DEPTH_MAX + 2, sideways)), Err(UpdateError::TooDeep));
        }
        let mut circle = [
            Item { id: (1, 0), len: 1, link: Some(((1, 1), true)), depth: None },
            Item { id: (1, 1), len: 1, link: Some(((1, 0), true)), depth: None },
        ];
        assert_eq!(nesting(&mut circle), Ok(()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&bytes);
            let _ = check_vector(&bytes);
        }
    }
}
