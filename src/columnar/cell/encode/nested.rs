//! Lists, maps and structs.

use super::{Source, source};
use crate::columnar::cell::Cell;
use crate::columnar::cell::json::put_text;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Fields};
use std::borrow::Cow;

pub(super) fn list(array: &ArrayRef) -> Result<Box<dyn Source>, String> {
    let (bounds, child, map) = match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            (Bounds::Short(list.offsets().clone()), list.values().clone(), false)
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            (Bounds::Long(list.offsets().clone()), list.values().clone(), false)
        }
        DataType::FixedSizeList(..) => {
            let list = array.as_fixed_size_list();
            let width = usize::try_from(list.value_length()).unwrap_or(0);
            (Bounds::Fixed(width), list.values().clone(), false)
        }
        _ => {
            let map = array.as_map();
            let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
            (Bounds::Short(map.offsets().clone()), entries, true)
        }
    };
    if map {
        let entries = child.as_struct();
        let children = [source(entries.column(0))?, source(entries.column(1))?];
        return Ok(Box::new(Maps { array: array.clone(), bounds, children }));
    }
    let vector = matches!(bounds, Bounds::Fixed(_)) && *child.data_type() == DataType::Float32;
    Ok(Box::new(Lists { array: array.clone(), bounds, child: source(&child)?, vector }))
}

pub(super) fn structs(fields: &Fields, array: &ArrayRef) -> Result<Box<dyn Source>, String> {
    let names = fields.iter().map(|field| field.name().clone());
    let children = array.as_struct().columns().iter().map(source).collect::<Result<Vec<_>, _>>()?;
    Ok(Box::new(Structs { array: array.clone(), children: names.zip(children).collect() }))
}

/// Where each list begins and ends in its child.
enum Bounds {
    Short(OffsetBuffer<i32>),
    Long(OffsetBuffer<i64>),
    Fixed(usize),
}

impl Bounds {
    fn of(&self, row: usize) -> std::ops::Range<usize> {
        let at = |offset: i64| usize::try_from(offset).unwrap_or(0);
        match self {
            Self::Short(offsets) => at(offsets[row].into())..at(offsets[row + 1].into()),
            Self::Long(offsets) => at(offsets[row])..at(offsets[row + 1]),
            Self::Fixed(width) => row * width..(row + 1) * width,
        }
    }
}

struct Lists {
    array: ArrayRef,
    bounds: Bounds,
    child: Box<dyn Source>,
    /// Fixed number of float32.
    vector: bool,
}

impl Source for Lists {
    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }
    fn cell(&self, row: usize) -> Cell<'_> {
        if self.vector {
            let values: Option<Vec<[u8; 4]>> =
                self.bounds.of(row).map(|at| self.child.float32(at).map(f32::to_le_bytes)).collect();
            if let Some(values) = values {
                return Cell::Blob(Cow::Owned(values.concat()));
            }
        }
        text(|out| self.json(row, out))
    }
    fn json(&self, row: usize, out: &mut String) {
        join(self.bounds.of(row), ('[', ']'), out, |at, out| self.child.json_or_null(at, out));
    }
}

struct Maps {
    array: ArrayRef,
    bounds: Bounds,
    children: [Box<dyn Source>; 2],
}

impl Source for Maps {
    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }
    fn cell(&self, row: usize) -> Cell<'_> {
        text(|out| self.json(row, out))
    }
    fn json(&self, row: usize, out: &mut String) {
        join(self.bounds.of(row), ('[', ']'), out, |at, out| {
            join(0..2, ('[', ']'), out, |part, out| self.children[part].json_or_null(at, out));
        });
    }
}

struct Structs {
    array: ArrayRef,
    children: Vec<(String, Box<dyn Source>)>,
}

impl Source for Structs {
    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }
    fn cell(&self, row: usize) -> Cell<'_> {
        text(|out| self.json(row, out))
    }
    fn json(&self, row: usize, out: &mut String) {
        join(0..self.children.len(), ('{', '}'), out, |index, out| {
            let (name, child) = &self.children[index];
            put_text(name, out);
            out.push(':');
            child.json_or_null(row, out);
        });
    }
}

fn text<'a>(write: impl FnOnce(&mut String)) -> Cell<'a> {
    let mut out = String::new();
    write(&mut out);
    Cell::Text(Cow::Owned(out))
}

fn join(
    items: std::ops::Range<usize>,
    (open, close): (char, char),
    out: &mut String,
    mut item: impl FnMut(usize, &mut String),
) {
    out.push(open);
    for (index, at) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        item(at, out);
    }
    out.push(close);
}
