//! Lists, maps and structs, and what is packed from a plain array.

use super::{Sink, Taken, sink, unfit, utf8};
use crate::columnar::cell::json::Cursor;
use arrow_array::{ArrayRef, FixedSizeListArray, LargeListArray, ListArray, MapArray, StructArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{DataType, FieldRef, Fields};
use rusqlite::types::ValueRef;
use std::sync::Arc;

/// A dictionary, run-end encoding or list view: built plain, packed at the end.
pub(super) struct Packed {
    pub(super) inner: Box<dyn Sink>,
    pub(super) to: DataType,
}

impl Sink for Packed {
    fn null(&mut self) {
        self.inner.null();
    }
    fn cell(&mut self, value: ValueRef<'_>) -> Taken {
        self.inner.cell(value)
    }
    fn json(&mut self, from: &mut Cursor<'_>) -> Taken {
        self.inner.json(from)
    }
    fn finish(&mut self) -> Result<ArrayRef, String> {
        let plain = self.inner.finish()?;
        arrow_cast::cast(&plain, &self.to).map_err(|e| format!("cannot be packed as {}: {e}", self.to))
    }
}

pub(super) fn lists(
    data_type: &DataType,
    item: &FieldRef,
    width: Option<usize>,
) -> Result<Box<dyn Sink>, String> {
    let map = matches!(data_type, DataType::Map(..));
    let vector = width.is_some() && *item.data_type() == DataType::Float32;
    Ok(Box::new(Lists {
        data_type: data_type.clone(),
        item: item.clone(),
        width,
        vector,
        child: if map {
            let DataType::Struct(fields) = item.data_type() else {
                return Err("has a broken map type".to_owned());
            };
            Child::Entries(structs(fields)?)
        } else {
            Child::Items(sink(item.data_type())?)
        },
        nulls: NullBufferBuilder::new(0),
        lengths: Vec::new(),
    }))
}

enum Child {
    Items(Box<dyn Sink>),
    Entries(Structs),
}

pub(super) struct Lists {
    data_type: DataType,
    item: FieldRef,
    width: Option<usize>,
    vector: bool,
    child: Child,
    nulls: NullBufferBuilder,
    lengths: Vec<usize>,
}

impl Lists {
    fn fits(&self, length: usize) -> Taken {
        match self.width {
            Some(width) if width != length => Err(format!("holds {width} values and was given {length}")),
            _ => Ok(()),
        }
    }
}

impl Sink for Lists {
    fn null(&mut self) {
        self.nulls.append_null();
        self.lengths.push(0);
        if let (Some(width), Child::Items(child)) = (self.width, &mut self.child) {
            (0..width).for_each(|_| child.null());
        }
    }

    fn cell(&mut self, value: ValueRef<'_>) -> Taken {
        match value {
            ValueRef::Text(text) => {
                let mut cursor = Cursor::new(utf8(text)?);
                self.json(&mut cursor)?;
                cursor.end()
            }
            ValueRef::Blob(bytes) if self.vector && bytes.len() % 4 == 0 => {
                self.fits(bytes.len() / 4)?;
                if let Child::Items(child) = &mut self.child {
                    for chunk in bytes.chunks_exact(4) {
                        let mut le = [0; 4];
                        le.copy_from_slice(chunk);
                        // By its bits where it is not a plain number.
                        let number = f32::from_le_bytes(le);
                        if number.is_nan() || number == 0.0 {
                            child.cell(ValueRef::Blob(&number.to_bits().to_be_bytes()))?;
                        } else {
                            child.cell(ValueRef::Real(f64::from(number)))?;
                        }
                    }
                }
                self.nulls.append_non_null();
                self.lengths.push(bytes.len() / 4);
                Ok(())
            }
            other => Err(unfit(other, "a list")),
        }
    }

    fn json(&mut self, from: &mut Cursor<'_>) -> Taken {
        let mut length = 0;
        let child = &mut self.child;
        from.array(|from| {
            length += 1;
            match child {
                Child::Items(child) => child.json_or_null(from),
                Child::Entries(entries) => entries.entry(from),
            }
        })?;
        self.fits(length)?;
        self.nulls.append_non_null();
        self.lengths.push(length);
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, String> {
        let nulls = self.nulls.finish();
        let lengths = std::mem::take(&mut self.lengths);
        let item = self.item.clone();
        let wrong = |e: arrow_schema::ArrowError| format!("does not fit its type: {e}");
        let values = match &mut self.child {
            Child::Items(child) => child.finish()?,
            Child::Entries(entries) => entries.finish()?,
        };
        Ok(match &self.data_type {
            DataType::FixedSizeList(_, width) => Arc::new(
                FixedSizeListArray::try_new_with_length(item, *width, values, nulls, lengths.len())
                    .map_err(wrong)?,
            ),
            DataType::LargeList(_) => {
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(LargeListArray::try_new(item, offsets, values, nulls).map_err(wrong)?)
            }
            DataType::Map(_, sorted) => {
                let entries = arrow_array::cast::AsArray::as_struct(&values).clone();
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(MapArray::try_new(item, offsets, entries, nulls, *sorted).map_err(wrong)?)
            }
            _ => {
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(ListArray::try_new(item, offsets, values, nulls).map_err(wrong)?)
            }
        })
    }
}

pub(super) fn structs(fields: &Fields) -> Result<Structs, String> {
    let children = fields.iter().map(|field| sink(field.data_type())).collect::<Result<Vec<_>, _>>()?;
    Ok(Structs { fields: fields.clone(), children, nulls: NullBufferBuilder::new(0), length: 0 })
}

pub(super) struct Structs {
    fields: Fields,
    children: Vec<Box<dyn Sink>>,
    nulls: NullBufferBuilder,
    length: usize,
}

impl Structs {
    /// `[key, value]` of a map.
    fn entry(&mut self, from: &mut Cursor<'_>) -> Taken {
        let mut part = 0;
        let children = &mut self.children;
        from.array(|from| {
            let child =
                children.get_mut(part).ok_or_else(|| "holds a map entry of more than two".to_owned())?;
            part += 1;
            child.json_or_null(from)
        })?;
        if part != 2 {
            return Err("holds a map entry that is not a key and a value".to_owned());
        }
        self.nulls.append_non_null();
        self.length += 1;
        Ok(())
    }
}

impl Sink for Structs {
    fn null(&mut self) {
        self.nulls.append_null();
        self.length += 1;
        self.children.iter_mut().for_each(|child| child.null());
    }

    fn cell(&mut self, value: ValueRef<'_>) -> Taken {
        match value {
            ValueRef::Text(text) => {
                let mut cursor = Cursor::new(utf8(text)?);
                self.json(&mut cursor)?;
                cursor.end()
            }
            other => Err(unfit(other, "a struct")),
        }
    }

    fn json(&mut self, from: &mut Cursor<'_>) -> Taken {
        let (fields, children) = (&self.fields, &mut self.children);
        let mut seen = vec![false; children.len()];
        from.object(|from, name| {
            let index = fields.iter().position(|field| field.name() == name);
            let index = index.ok_or_else(|| format!("has no field `{name}`"))?;
            if std::mem::replace(&mut seen[index], true) {
                return Err(format!("was given field `{name}` twice"));
            }
            children[index].json_or_null(from)
        })?;
        for (child, _) in children.iter_mut().zip(&seen).filter(|(_, seen)| !**seen) {
            child.null();
        }
        self.nulls.append_non_null();
        self.length += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, String> {
        let nulls = self.nulls.finish();
        let length = std::mem::take(&mut self.length);
        let columns = self.children.iter_mut().map(|child| child.finish()).collect::<Result<Vec<_>, _>>()?;
        StructArray::try_new_with_length(self.fields.clone(), columns, nulls, length)
            .map(|array| Arc::new(array) as ArrayRef)
            .map_err(|e| format!("does not fit its type: {e}"))
    }
}
