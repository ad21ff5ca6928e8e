//! Functions of lists and structs.

use super::call::wrong_count;
use super::cast::OnFailure;
use super::constant::Constant;
use super::expr::Translator;
use super::text::at;
use super::typed::{Class, Typed, list_of, plain, string};
use crate::dataset::DatasetError;
use arrow_schema::DataType;
use arrow_schema::Metadata;
use sqlparser::tokenizer::Location;

impl Translator<'_> {
    pub fn nested_call(
        &mut self,
        name: &str,
        mut args: Vec<Typed>,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        match name {
            "get_field" if args.len() >= 2 => {
                let path = args.split_off(1);
                let mut typed = args.remove(0);
                for step in path {
                    typed = self.element_of(typed, step)?;
                }
                Ok(typed)
            }
            "named_struct" if args.len().is_multiple_of(2) => {
                let mut fields = Vec::with_capacity(args.len() / 2);
                let mut args = args.into_iter();
                while let (Some(name), Some(value)) = (args.next(), args.next()) {
                    let Some(text) = name.constant_text() else {
                        return Err(at(name.at, "named_struct takes its names as literals"));
                    };
                    fields.push((text.to_owned(), value));
                }
                self.make_struct(fields, here)
            }
            "struct" | "row" => self.make_struct(
                args.into_iter().enumerate().map(|(index, value)| (format!("c{index}"), value)).collect(),
                here,
            ),
            "make_array" => self.make_list(args, here),
            "cardinality" => self.list_call("length", args, here),
            "empty" => self.list_call("empty", args, here),
            "string_to_array" if args.len() == 2 => {
                let none = Metadata::new();
                let separator = self.cast(args.remove(1), &DataType::Utf8, &none, OnFailure::Error)?;
                let text = self.cast(args.remove(0), &DataType::Utf8, &none, OnFailure::Error)?;
                let sql = format!("ma_split({}, {})", text.sql, separator.sql);
                Ok(Typed::new(sql, list_of(DataType::Utf8), here))
            }
            "get_field" | "string_to_array" => Err(wrong_count(name, 2, 2, args.len(), here)),
            "named_struct" => Err(at(here, "named_struct takes names and values in turn")),
            _ => Err(self.unknown_function(name, here)),
        }
    }

    /// `array_…` and `list_…`, without the prefix.
    pub fn list_call(
        &mut self,
        name: &str,
        mut args: Vec<Typed>,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        let (least, most) = match name {
            "length" | "empty" | "distinct" | "reverse" | "max" | "min" | "ndims" | "dims" => (1, 1),
            "sort" => (1, 3),
            "slice" => (3, 3),
            "concat" | "cat" => (1, usize::MAX),
            "has" | "contains" | "has_any" | "has_all" | "element" | "extract" | "append" | "push_back"
            | "prepend" | "push_front" | "position" | "indexof" | "remove_all" | "to_string" | "join" => {
                (2, 2)
            }
            _ => return Err(self.unknown_function(&format!("array_{name}"), here)),
        };
        if args.len() < least || args.len() > most {
            return Err(wrong_count(&format!("array_{name}"), least, most, args.len(), here));
        }
        match name {
            "length" | "empty" => self.list_length(name, args.remove(0), here),
            "element" | "extract" => {
                let index = args.remove(1);
                self.element_of(args.remove(0), index)
            }
            "concat" | "cat" => self.lists_concat(args, here),
            "append" | "push_back" => {
                let item = args.remove(1);
                let one = self.make_list(vec![item], here)?;
                self.lists_concat(vec![args.remove(0), one], here)
            }
            "prepend" | "push_front" => {
                let list = args.remove(1);
                let one = self.make_list(vec![args.remove(0)], here)?;
                self.lists_concat(vec![one, list], here)
            }
            "has" | "contains" | "position" | "indexof" | "remove_all" => {
                let wanted = args.remove(1);
                self.list_search(name, args.remove(0), wanted, here)
            }
            "has_any" | "has_all" => {
                let wanted = args.remove(1);
                let (list, item) = self.json_list(args.remove(0))?;
                let wanted = self.cast(wanted, &list_of(item), &Metadata::new(), OnFailure::Error)?;
                let function = if name == "has_any" { "ma_list_any" } else { "ma_list_all" };
                let sql = format!("{function}({}, {})", list.sql, wanted.sql);
                Ok(Typed::new(sql, DataType::Boolean, here))
            }
            _ => self.list_shape(name, args, here),
        }
    }

    fn list_length(&mut self, name: &str, list: Typed, here: Location) -> Result<Typed, DatasetError> {
        let length = match plain(&list.data_type) {
            DataType::FixedSizeList(_, size) => format!("iif({} IS NULL, NULL, {size})", list.sql),
            _ if matches!(list.class(), Class::List | Class::Null) => {
                format!("json_array_length({})", list.sql)
            }
            DataType::Map(..) => format!("json_array_length({})", list.sql),
            other => return Err(at(list.at, format!("a list is wanted here, and this is a {other}"))),
        };
        Ok(if name == "empty" {
            Typed::new(format!("({length} = 0)"), DataType::Boolean, here)
        } else {
            Typed::new(length, DataType::UInt64, here)
        })
    }

    fn list_search(
        &mut self,
        name: &str,
        list: Typed,
        wanted: Typed,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        let (list, item) = self.json_list(list)?;
        let wanted = self.json_item(wanted, &item)?;
        let (function, data_type) = match name {
            "has" | "contains" => ("ma_list_has", DataType::Boolean),
            "remove_all" => ("ma_list_remove", list_of(item)),
            _ => ("ma_list_position", DataType::UInt64),
        };
        Ok(Typed::new(format!("{function}({}, {wanted})", list.sql), data_type, here))
    }

    fn lists_concat(&mut self, lists: Vec<Typed>, here: Location) -> Result<Typed, DatasetError> {
        let mut all = DataType::Null;
        let mut members = Vec::with_capacity(lists.len());
        for list in lists {
            let (list, item) = self.json_list(list)?;
            all = self.common_item(&all, &item, here)?;
            members.push(list);
        }
        let data_type = list_of(all);
        let mut printed = Vec::with_capacity(members.len());
        for member in members {
            printed.push(self.cast(member, &data_type, &Metadata::new(), OnFailure::Error)?.sql);
        }
        Ok(Typed::new(format!("ma_list_concat({})", printed.join(", ")), data_type, here))
    }

    fn list_shape(
        &mut self,
        name: &str,
        mut args: Vec<Typed>,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        let rest = args.split_off(1);
        let (list, item) = self.json_list(args.remove(0))?;
        let data_type = list_of(item.clone());
        let numeric = i32::from(Class::of(&item) != Class::Text);
        let of = |function: &str, more: &str| format!("{function}({}{more})", list.sql);
        Ok(match name {
            "distinct" => Typed::new(of("ma_list_distinct", ""), data_type, here),
            "reverse" => Typed::new(of("ma_list_reverse", ""), data_type, here),
            "slice" => {
                if rest.iter().any(|bound| bound.class() != Class::Integer) {
                    return Err(at(here, "array_slice takes a list and two numbers, from 1"));
                }
                let more = format!(", {}, {}", rest[0].sql, rest[1].sql);
                Typed::new(of("ma_list_slice", &more), data_type, here)
            }
            "sort" => {
                let mut words = rest.iter().map(|w| w.constant_text().unwrap_or_default().to_uppercase());
                let descending = words.next().is_some_and(|w| w == "DESC");
                let nulls_last = words.next().is_some_and(|w| w == "NULLS LAST");
                let more = format!(", {numeric}, {}, {}", i32::from(descending), i32::from(nulls_last));
                Typed::new(of("ma_list_sort", &more), data_type, here)
            }
            "max" | "min" => {
                let more = format!(", {numeric}, {}, 1", i32::from(name == "max"));
                let sorted = Typed::new(of("ma_list_sort", &more), data_type, here);
                self.element_of(sorted, Typed::of_constant(Constant::Integer(1), here))?
            }
            "to_string" | "join" => {
                let separator = rest[0].constant_text().map_or_else(|| rest[0].sql.clone(), string);
                let texts = list_of(DataType::Utf8);
                let list = self.cast(list, &texts, &Metadata::new(), OnFailure::Error)?;
                Typed::new(format!("ma_list_join({}, {separator})", list.sql), DataType::Utf8, here)
            }
            _ => return Err(self.unknown_function(&format!("array_{name}"), here)),
        })
    }
}
