//! Aggregates and window functions.

use super::call::{unnamed, wrong_count};
use super::cast::OnFailure;
use super::expr::Translator;
use super::scope::Scope;
use super::text::at;
use super::typed::{Class, Typed, list_of, plain, type_argument};
use crate::dataset::DatasetError;
use arrow_schema::DataType;
use arrow_schema::Metadata;
use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, NullTreatment, OrderByExpr, Spanned as _, WindowFrameBound, WindowSpec, WindowType,
};
use sqlparser::tokenizer::Location;

pub(super) const NAMES: &[&str] = &[
    "count",
    "sum",
    "avg",
    "mean",
    "min",
    "max",
    "median",
    "stddev",
    "stddev_samp",
    "stddev_pop",
    "var",
    "var_samp",
    "var_pop",
    "approx_distinct",
    "approx_median",
    "array_agg",
    "string_agg",
    "bool_and",
    "bool_or",
    "first_value",
    "last_value",
    "nth_value",
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "bit_and",
    "bit_or",
    "bit_xor",
];

/// Window functions that are nothing without OVER.
const WINDOW_ONLY: &[&str] =
    &["nth_value", "row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead"];

pub(super) fn is_aggregate(name: &str) -> bool {
    NAMES.contains(&name)
}

/// A call, taken apart.
struct Call {
    distinct: bool,
    star: bool,
    args: Vec<Typed>,
    order: Vec<OrderByExpr>,
    ignore_nulls: bool,
}

impl Translator<'_> {
    pub fn aggregate(
        &mut self,
        scope: &Scope<'_>,
        name: &str,
        function: &Function,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        if !self.aggregates {
            return Err(at(here, format!("`{name}` looks at many rows; here there is one. Use execute_sql")));
        }
        if !is_aggregate(name) {
            return Err(self.unknown_function(name, here));
        }
        if function.over.is_none() && WINDOW_ONLY.contains(&name) {
            return Err(at(here, format!("`{name}` needs a window: {name}() OVER (ORDER BY …)")));
        }
        let loose = self.loose_columns();
        let call = self.take_apart(scope, function, here)?;
        let (mut sql, data_type, metadata) = self.aggregate_sql(scope, name, &call, here)?;
        if function.over.is_some() && matches!(name, "first_value" | "last_value") {
            sql = format!("{name}({})", call.args.first().map(|a| a.sql.as_str()).unwrap_or_default());
        }
        let filter = match &function.filter {
            Some(filter) => {
                let filter = self.expr(scope, filter)?;
                format!(" FILTER (WHERE {})", self.boolean(filter)?.sql)
            }
            None => String::new(),
        };
        if function.over.is_none() {
            self.met_aggregate(loose);
        }
        let over = match &function.over {
            None => String::new(),
            Some(_) if sql.starts_with("ma_") => {
                return Err(at(here, format!("`{name}` cannot be used over a window here")));
            }
            Some(WindowType::NamedWindow(name)) => format!(" OVER {}", super::typed::identifier(&name.value)),
            Some(WindowType::WindowSpec(spec)) => format!(" OVER ({})", self.window(scope, spec)?),
        };
        Ok(Typed { metadata, ..Typed::new(format!("{sql}{filter}{over}"), data_type, here) })
    }

    fn take_apart(
        &mut self,
        scope: &Scope<'_>,
        function: &Function,
        here: Location,
    ) -> Result<Call, DatasetError> {
        let mut call = Call {
            distinct: false,
            star: false,
            args: Vec::new(),
            order: function.within_group.clone(),
            ignore_nulls: matches!(function.null_treatment, Some(NullTreatment::IgnoreNulls)),
        };
        let FunctionArguments::List(list) = &function.args else { return Ok(call) };
        call.distinct = matches!(list.duplicate_treatment, Some(DuplicateTreatment::Distinct));
        for arg in &list.args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Wildcard) = arg {
                call.star = true;
            } else {
                let arg = unnamed(arg, here)?;
                call.args.push(self.expr(scope, arg)?);
            }
        }
        for clause in &list.clauses {
            match clause {
                FunctionArgumentClause::OrderBy(order) => call.order.extend(order.iter().cloned()),
                FunctionArgumentClause::IgnoreOrRespectNulls(treatment) => {
                    call.ignore_nulls = matches!(treatment, NullTreatment::IgnoreNulls);
                }
                other => return Err(at(here, format!("`{other}` is not known inside a call here"))),
            }
        }
        Ok(call)
    }

    fn aggregate_sql(
        &mut self,
        scope: &Scope<'_>,
        name: &str,
        call: &Call,
        here: Location,
    ) -> Result<(String, DataType, Metadata), DatasetError> {
        let none = Metadata::new();
        if call.star && name != "count" {
            return Err(at(here, format!("`{name}(*)` is not possible; name a column")));
        }
        if call.ignore_nulls && name != "array_agg" {
            return Err(at(here, "IGNORE NULLS is not possible here; filter them with FILTER (WHERE …)"));
        }
        if name == "count" && (call.star || call.args.is_empty()) {
            return Ok(("count(*)".to_owned(), DataType::Int64, none));
        }
        if let Some(window) = self.window_only(name, call, here)? {
            return Ok(window);
        }
        let Some(first) = call.args.first() else {
            return Err(wrong_count(name, 1, 1, 0, here));
        };
        let most = if name == "string_agg" { 2 } else { 1 };
        if call.args.len() > most {
            return Err(wrong_count(name, 1, most, call.args.len(), here));
        }
        let distinct = if call.distinct { "DISTINCT " } else { "" };
        let order = self.inner_order(scope, &call.order)?;
        let class = first.class();
        let simple = |function: &str, data_type: DataType| {
            (format!("{function}({distinct}{})", first.sql), data_type, Metadata::new())
        };
        match name {
            "count" => Ok(simple("count", DataType::Int64)),
            "approx_distinct" => Ok((format!("count(DISTINCT {})", first.sql), DataType::UInt64, none)),
            "min" | "max" if class == Class::Decimal => {
                let real = self.real(first.clone());
                Ok((format!("{name}({})", real.sql), DataType::Float64, none))
            }
            "min" | "max" => {
                let (sql, data_type, _) = simple(name, first.data_type.clone());
                Ok((sql, data_type, first.metadata.clone()))
            }
            "bool_and" | "bool_or" if matches!(class, Class::Boolean | Class::Null) => {
                let function = if name == "bool_and" { "min" } else { "max" };
                Ok((format!("{function}({})", first.sql), DataType::Boolean, none))
            }
            "bit_and" | "bit_or" | "bit_xor" if class == Class::Integer => {
                let function = match name {
                    "bit_and" => "ma_bit_and",
                    "bit_or" => "ma_bit_or",
                    _ => "ma_bit_xor",
                };
                Ok(simple(function, first.data_type.clone()))
            }
            "array_agg" | "string_agg" | "first_value" | "last_value" => {
                self.gathered(name, call, first, &order, here)
            }
            _ if class.is_number() || class == Class::Null => {
                let (function, data_type) = self.of_numbers(name, &first.data_type);
                let first = self.real(first.clone());
                Ok((format!("{function}({distinct}{})", first.sql), data_type, none))
            }
            _ => Err(at(first.at, format!("`{name}` does not take a {}", plain(&first.data_type)))),
        }
    }

    fn of_numbers(&mut self, name: &str, of: &DataType) -> (&'static str, DataType) {
        let function = match name {
            "sum" => {
                let data_type = match Class::of(of) {
                    Class::Integer if of.is_unsigned_integer() => DataType::UInt64,
                    Class::Integer => DataType::Int64,
                    _ => DataType::Float64,
                };
                return ("sum", data_type);
            }
            "avg" | "mean" => return ("avg", DataType::Float64),
            "median" | "approx_median" => "ma_median",
            "stddev" | "stddev_samp" => "ma_stddev",
            "stddev_pop" => "ma_stddev_pop",
            "var_pop" => "ma_var_pop",
            _ => "ma_var",
        };
        (function, DataType::Float64)
    }

    /// Those whose result is made of the values themselves, in an order.
    fn gathered(
        &mut self,
        name: &str,
        call: &Call,
        first: &Typed,
        order: &str,
        here: Location,
    ) -> Result<(String, DataType, Metadata), DatasetError> {
        if call.distinct {
            return Err(at(
                here,
                format!("{name}(DISTINCT …) is not possible; use a subquery with DISTINCT"),
            ));
        }
        Ok(match name {
            "array_agg" => {
                let of = type_argument(plain(&first.data_type));
                let skip = i32::from(call.ignore_nulls);
                let sql = format!("ma_array_agg({}, {of}, {skip}{order})", first.sql);
                (sql, list_of(first.data_type.clone()), Metadata::new())
            }
            "string_agg" => {
                let text = self.cast(first.clone(), &DataType::Utf8, &Metadata::new(), OnFailure::Error)?;
                let separator = call.args.get(1).map_or_else(|| "','".to_owned(), |s| s.sql.clone());
                (format!("string_agg({}, {separator}{order})", text.sql), DataType::Utf8, Metadata::new())
            }
            _ => {
                let function = if name == "first_value" { "ma_first" } else { "ma_last" };
                let sql = format!("{function}({}{order})", first.sql);
                (sql, first.data_type.clone(), first.metadata.clone())
            }
        })
    }

    /// Those that SQLite has under the same name.
    fn window_only(
        &mut self,
        name: &str,
        call: &Call,
        here: Location,
    ) -> Result<Option<(String, DataType, Metadata)>, DatasetError> {
        let printed: Vec<&str> = call.args.iter().map(|a| a.sql.as_str()).collect();
        let sql = format!("{name}({})", printed.join(", "));
        let shape = match name {
            "row_number" | "rank" | "dense_rank" | "percent_rank" | "cume_dist" => (0, 0),
            "ntile" => (1, 1),
            "nth_value" => (2, 2),
            "lag" | "lead" => (1, 3),
            _ => return Ok(None),
        };
        if call.args.len() < shape.0 || call.args.len() > shape.1 {
            return Err(wrong_count(name, shape.0, shape.1, call.args.len(), here));
        }
        Ok(Some(match name {
            "percent_rank" | "cume_dist" => (sql, DataType::Float64, Metadata::new()),
            "lag" | "lead" | "nth_value" => {
                let first = &call.args[0];
                (sql, first.data_type.clone(), first.metadata.clone())
            }
            _ => (sql, DataType::UInt64, Metadata::new()),
        }))
    }

    fn inner_order(&mut self, scope: &Scope<'_>, order: &[OrderByExpr]) -> Result<String, DatasetError> {
        if order.is_empty() {
            return Ok(String::new());
        }
        Ok(format!(" ORDER BY {}", self.order(scope, order)?))
    }

    /// `a DESC NULLS FIRST, b …`: NULLs where `DataFusion` puts them.
    pub fn order(&mut self, scope: &Scope<'_>, order: &[OrderByExpr]) -> Result<String, DatasetError> {
        let mut printed = Vec::with_capacity(order.len());
        for one in order {
            let typed = self.expr(scope, &one.expr)?;
            printed.push(format!("{}{}", self.sort_key(&typed), direction(one)?));
        }
        Ok(printed.join(", "))
    }

    /// What sorts like the value: decimals are kept as text.
    pub fn sort_key(&self, typed: &Typed) -> String {
        if typed.class() == Class::Decimal {
            format!("CAST({} AS REAL)", typed.sql)
        } else if typed.constant.is_some() {
            // a bare number would be the number of a column
            format!("({} + 0)", typed.sql)
        } else {
            typed.sql.clone()
        }
    }

    pub fn window(&mut self, scope: &Scope<'_>, spec: &WindowSpec) -> Result<String, DatasetError> {
        let mut parts = Vec::new();
        if let Some(name) = &spec.window_name {
            parts.push(super::typed::identifier(&name.value));
        }
        if !spec.partition_by.is_empty() {
            let mut by = Vec::with_capacity(spec.partition_by.len());
            for one in &spec.partition_by {
                by.push(self.expr(scope, one)?.sql);
            }
            parts.push(format!("PARTITION BY {}", by.join(", ")));
        }
        if !spec.order_by.is_empty() {
            parts.push(format!("ORDER BY {}", self.order(scope, &spec.order_by)?));
        }
        if let Some(frame) = &spec.window_frame {
            let start = self.bound(scope, &frame.start_bound)?;
            parts.push(match &frame.end_bound {
                Some(end) => format!("{} BETWEEN {start} AND {}", frame.units, self.bound(scope, end)?),
                None => format!("{} {start}", frame.units),
            });
        }
        Ok(parts.join(" "))
    }

    fn bound(&mut self, scope: &Scope<'_>, bound: &WindowFrameBound) -> Result<String, DatasetError> {
        let mut amount = |e: &Expr| -> Result<String, DatasetError> {
            let typed = self.expr(scope, e)?;
            if typed.class() != Class::Integer {
                return Err(at(e.span().start, "a window's bound is a whole number"));
            }
            Ok(typed.sql)
        };
        Ok(match bound {
            WindowFrameBound::CurrentRow => "CURRENT ROW".to_owned(),
            WindowFrameBound::Preceding(None) => "UNBOUNDED PRECEDING".to_owned(),
            WindowFrameBound::Following(None) => "UNBOUNDED FOLLOWING".to_owned(),
            WindowFrameBound::Preceding(Some(e)) => format!("{} PRECEDING", amount(e)?),
            WindowFrameBound::Following(Some(e)) => format!("{} FOLLOWING", amount(e)?),
        })
    }
}

/// ` DESC NULLS FIRST`.
pub(super) fn direction(order: &OrderByExpr) -> Result<&'static str, DatasetError> {
    use sqlparser::ast::OrderBySort;
    let descending = match &order.options.sort {
        None | Some(OrderBySort::Asc) => false,
        Some(OrderBySort::Desc) => true,
        Some(other) => {
            return Err(at(order.span().start, format!("`{other:?}` is not an order here; use ASC or DESC")));
        }
    };
    Ok(match (descending, order.options.nulls_first.unwrap_or(descending)) {
        (false, false) => " ASC NULLS LAST",
        (false, true) => " ASC NULLS FIRST",
        (true, true) => " DESC NULLS FIRST",
        (true, false) => " DESC NULLS LAST",
    })
}
