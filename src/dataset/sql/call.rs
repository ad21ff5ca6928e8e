//! Calls of scalar functions.

use super::cast::OnFailure;
use super::catalogue::{self, Entry, Kind};
use super::constant::Constant;
use super::expr::Translator;
use super::scope::{Scope, hint};
use super::text::at;
use super::typed::{Class, Typed, plain};
use crate::dataset::DatasetError;
use arrow_schema::DataType;
use arrow_schema::Metadata;
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectNamePart, Spanned as _,
    TrimWhereField,
};
use sqlparser::tokenizer::Location;

impl Translator<'_> {
    pub fn function(&mut self, scope: &Scope<'_>, function: &Function) -> Result<Typed, DatasetError> {
        let here = function.name.span().start;
        let name = match function.name.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] => ident.value.to_lowercase(),
            _ => return Err(at(here, format!("there is no function `{}`", function.name))),
        };
        if super::aggregate::is_aggregate(&name) || function.over.is_some() {
            return self.aggregate(scope, &name, function, here);
        }
        let plain_call = function.filter.is_none()
            && function.within_group.is_empty()
            && function.null_treatment.is_none()
            && matches!(function.parameters, FunctionArguments::None);
        let args = match &function.args {
            FunctionArguments::None => Vec::new(),
            FunctionArguments::List(list)
                if plain_call && list.clauses.is_empty() && list.duplicate_treatment.is_none() =>
            {
                list.args.iter().map(|arg| unnamed(arg, here)).collect::<Result<Vec<_>, _>>()?
            }
            _ => return Err(at(here, format!("`{name}` is not an aggregate: it takes only arguments"))),
        };
        self.call(scope, &name, &args, here)
    }

    pub fn call(
        &mut self,
        scope: &Scope<'_>,
        name: &str,
        args: &[&Expr],
        here: Location,
    ) -> Result<Typed, DatasetError> {
        let args = args.iter().map(|arg| self.expr(scope, arg)).collect::<Result<Vec<_>, _>>()?;
        self.call_typed(name, args, here)
    }

    pub fn call_typed(
        &mut self,
        name: &str,
        args: Vec<Typed>,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        if let Some(entry) = catalogue::find(name) {
            return self.listed(name, entry, args, here);
        }
        if let Some(stem) = name.strip_prefix("list_").or_else(|| name.strip_prefix("array_")) {
            return self.list_call(stem, args, here);
        }
        self.special(name, args, here)
    }

    fn listed(
        &mut self,
        name: &str,
        entry: &Entry,
        args: Vec<Typed>,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        if args.len() < entry.least || args.len() > entry.args.len() {
            return Err(wrong_count(name, entry.least, entry.args.len(), args.len(), here));
        }
        if name.starts_with("regexp")
            && let Some(pattern) = args.get(1)
        {
            let flags = args.get(if name == "regexp_replace" { 3 } else { 2 });
            super::pattern::check_pattern(pattern, flags.and_then(Typed::constant_text).unwrap_or_default())?;
        }
        let first = args.first().map(|a| plain(&a.data_type).clone());
        let mut printed = Vec::with_capacity(args.len());
        for (arg, kind) in args.into_iter().zip(entry.args) {
            printed.push(self.argument(name, arg, *kind)?.sql);
        }
        let first = first.map(|t| if Class::of(&t) == Class::Decimal { DataType::Float64 } else { t });
        let sql = if entry.sql.contains(['{', '(', '.']) {
            fill(entry.sql, &printed)
        } else {
            entry.sql.starts_with("ma_");
            format!("{}({})", entry.sql, printed.join(", "))
        };
        Ok(Typed::new(sql, entry.gives.data_type(first.as_ref()), here))
    }

    pub fn argument(&mut self, name: &str, arg: Typed, kind: Kind) -> Result<Typed, DatasetError> {
        // a number that a parameter or a text says, where a number is wanted
        let numeric = kind != Kind::Text && arg.constant_text().is_some();
        if !kind.accepts(arg.class()) && !numeric {
            return Err(at(
                arg.at,
                format!("`{name}` takes {} here, and this is a {}", kind.word(), plain(&arg.data_type)),
            ));
        }
        let none = Metadata::new();
        match kind {
            Kind::Text => self.cast(arg, &DataType::Utf8, &none, OnFailure::Error),
            Kind::Real => self.cast(arg, &DataType::Float64, &none, OnFailure::Error),
            Kind::Whole if numeric => self.cast(arg, &DataType::Int64, &none, OnFailure::Error),
            Kind::Number if numeric => self.cast(arg, &DataType::Float64, &none, OnFailure::Error),
            Kind::Number => Ok(self.real(arg)),
            Kind::Whole => Ok(arg),
        }
    }

    fn special(&mut self, name: &str, mut args: Vec<Typed>, here: Location) -> Result<Typed, DatasetError> {
        let count = args.len();
        let expect = |least: usize, most: usize| {
            if count < least || count > most {
                Err(wrong_count(name, least, most, count, here))
            } else {
                Ok(())
            }
        };
        match name {
            "length" | "char_length" | "character_length" => {
                expect(1, 1)?;
                if args[0].class() == Class::List {
                    return self.list_call("length", args, here);
                }
                let text = self.argument(name, args.remove(0), Kind::Text)?;
                Ok(Typed::new(format!("ma_length({})", text.sql), DataType::Int32, here))
            }
            "concat" | "concat_ws" => {
                expect(1 + usize::from(name == "concat_ws"), usize::MAX)?;
                if args.iter().all(|a| a.class() == Class::List) {
                    return self.list_call("concat", args, here);
                }
                let mut printed = Vec::with_capacity(args.len());
                for arg in args {
                    printed.push(self.argument(name, arg, Kind::Text)?.sql);
                }
                Ok(Typed::new(format!("{name}({})", printed.join(", ")), DataType::Utf8, here))
            }
            "coalesce" | "nvl" | "ifnull" | "greatest" | "least" => {
                expect(1, usize::MAX)?;
                self.choice(name, args, here)
            }
            "nvl2" => {
                expect(3, 3)?;
                let test = args.remove(0);
                let (mut both, data_type) = self.unify(args, name)?;
                let (b, a) = (both.remove(1), both.remove(0));
                let sql = format!("iif({} IS NOT NULL, {}, {})", test.sql, a.sql, b.sql);
                Ok(Typed::new(sql, data_type, here))
            }
            "nullif" => {
                expect(2, 2)?;
                let (b, a) = (args.remove(1), args.remove(0));
                let kept = a.clone();
                let equal = self.compare("=", a, b, here)?;
                let sql = format!("CASE WHEN {} THEN NULL ELSE {} END", equal.sql, kept.sql);
                Ok(Typed { metadata: kept.metadata, ..Typed::new(sql, kept.data_type, here) })
            }
            "isnull" => {
                expect(1, 1)?;
                Ok(Typed::new(format!("({} IS NULL)", args[0].sql), DataType::Boolean, here))
            }
            "round" | "trunc" | "log" | "nanvl" | "arrow_cast" | "arrow_typeof" | "regexp_match" => {
                self.number_or_type(name, args, here)
            }
            "get_field" | "named_struct" | "struct" | "row" | "make_array" | "cardinality" | "empty"
            | "string_to_array" | "flatten" => self.nested_call(name, args, here),
            _ => self.time_call(name, args, here),
        }
    }

    fn choice(&mut self, name: &str, args: Vec<Typed>, here: Location) -> Result<Typed, DatasetError> {
        let (args, data_type) = self.unify(args, name)?;
        let metadata = args.iter().find(|a| !a.metadata.is_empty()).map(|a| a.metadata.clone());
        let printed: Vec<&str> = args.iter().map(|a| a.sql.as_str()).collect();
        let function = match name {
            "greatest" => "ma_greatest",
            "least" => "ma_least",
            _ => "coalesce",
        };
        function.starts_with("ma_");
        let sql = match printed.as_slice() {
            [one] => (*one).to_owned(),
            many => format!("{function}({})", many.join(", ")),
        };
        Ok(Typed { metadata: metadata.unwrap_or_default(), ..Typed::new(sql, data_type, here) })
    }

    fn number_or_type(
        &mut self,
        name: &str,
        mut args: Vec<Typed>,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        let (least, most) = match name {
            "nanvl" | "arrow_cast" => (2, 2),
            "arrow_typeof" => (1, 1),
            "regexp_match" => (2, 3),
            _ => (1, 2),
        };
        if args.len() < least || args.len() > most {
            return Err(wrong_count(name, least, most, args.len(), here));
        }
        match name {
            "round" | "trunc" if args[0].class() == Class::Integer && args.len() == 1 => Ok(args.remove(0)),
            "arrow_typeof" => Ok(Typed::of_constant(Constant::Text(args[0].data_type.to_string()), here)),
            "arrow_cast" => {
                let to = args.remove(1);
                let text = to.constant_text().unwrap_or_default();
                let data_type = text.parse::<DataType>().map_err(|_| {
                    at(to.at, format!("'{text}' is not an Arrow type; use e.g. 'Int32' or 'Timestamp(ms)'"))
                })?;
                self.cast(args.remove(0), &data_type, &Metadata::new(), OnFailure::Error)
            }
            "regexp_match" => {
                super::pattern::check_pattern(
                    &args[1],
                    args.get(2).and_then(Typed::constant_text).unwrap_or_default(),
                )?;
                let mut printed = Vec::new();
                for arg in args {
                    printed.push(self.argument(name, arg, Kind::Text)?.sql);
                }
                let sql = format!("ma_regexp_match({})", printed.join(", "));
                Ok(Typed::new(sql, super::typed::list_of(DataType::Utf8), here))
            }
            "log" if args.len() == 1 => self.call_typed("log10", args, here),
            _ => {
                let mut printed = Vec::new();
                for (index, arg) in args.into_iter().enumerate() {
                    let whole = index == 1 && matches!(name, "round" | "trunc");
                    printed.push(self.argument(name, arg, if whole { Kind::Whole } else { Kind::Real })?.sql);
                }
                let function = match name {
                    "round" => "ma_round",
                    "trunc" => "ma_trunc",
                    "log" => "ma_log",
                    _ => "ma_nanvl",
                };
                Ok(Typed::new(format!("{function}({})", printed.join(", ")), DataType::Float64, here))
            }
        }
    }

    pub fn unknown_function(&self, name: &str, here: Location) -> DatasetError {
        let mut names = catalogue::names();
        names.extend(super::aggregate::NAMES);
        at(here, format!("there is no function `{name}`{}", hint(name, &names)))
    }

    pub fn trim(
        &mut self,
        scope: &Scope<'_>,
        side: Option<TrimWhereField>,
        what: Option<&Expr>,
        value: &Expr,
        characters: Option<&[Expr]>,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        let name = match side {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        };
        let mut args = vec![value];
        args.extend(what);
        args.extend(characters.into_iter().flatten());
        self.call(scope, name, &args, here)
    }
}

pub(super) fn unnamed(arg: &FunctionArg, here: Location) -> Result<&Expr, DatasetError> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
        _ => Err(at(here, "arguments stand by position, and are values")),
    }
}

pub(super) fn wrong_count(name: &str, least: usize, most: usize, got: usize, here: Location) -> DatasetError {
    let wanted = match (least, most) {
        (least, usize::MAX) => format!("at least {least}"),
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    at(here, format!("`{name}` takes {wanted} arguments, and here are {got}"))
}

/// Puts the arguments where a template has their numbers. One pass: printed SQL may hold braces in its strings.
fn fill(template: &str, args: &[String]) -> String {
    let mut sql = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        sql.push_str(before);
        let (number, after) = after.split_once('}').unwrap_or(("", after));
        if let Some(arg) = number.parse::<usize>().ok().and_then(|n| args.get(n)) {
            sql.push_str(arg);
        }
        rest = after;
    }
    sql.push_str(rest);
    sql
}
