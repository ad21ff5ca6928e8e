//! Names in sight: columns of the relations of a query, and of the queries around it.

use super::text::at;
use super::typed::{Typed, identifier};
use crate::dataset::DatasetError;
use arrow_schema::{FieldRef, Schema};
use sqlparser::ast::Ident;

/// Names at most this different are offered as what was meant.
const NEAREST: f64 = 0.6;
/// How many names an error lists.
const LISTED: usize = 12;

/// A column that can be named.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// Alias of the relation; none in a condition over one table.
    pub relation: Option<String>,
    pub field: FieldRef,
    /// What SQLite calls it.
    pub sql: String,
    /// Of a join with USING: found only by its relation's name, because the other side's stands for both.
    pub hidden: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Scope<'a> {
    pub columns: Vec<Column>,
    /// Names that stand for a whole expression: aliases of the projection.
    pub aliases: Vec<(String, Typed)>,
    pub outer: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    pub fn of_schema(schema: &Schema) -> Self {
        let columns = schema
            .fields()
            .iter()
            .map(|field| Column {
                relation: None,
                field: field.clone(),
                sql: identifier(field.name()),
                hidden: false,
            })
            .collect();
        Self { columns, aliases: Vec::new(), outer: None }
    }

    pub fn inside(outer: &'a Scope<'a>) -> Self {
        Self { columns: Vec::new(), aliases: Vec::new(), outer: Some(outer) }
    }

    /// The columns that `test` picks under the name of `ident`: as it is written, else in lower case where unquoted.
    fn named(&self, ident: &Ident, test: impl Fn(&Column) -> bool) -> Vec<&Column> {
        let exact: Vec<&Column> =
            self.columns.iter().filter(|c| c.field.name() == &ident.value && test(c)).collect();
        if !exact.is_empty() || ident.quote_style.is_some() {
            return exact;
        }
        let lower = ident.value.to_lowercase();
        self.columns.iter().filter(|c| c.field.name() == &lower && test(c)).collect()
    }

    fn has_relation(&self, ident: &Ident) -> bool {
        self.columns.iter().any(|c| c.relation.as_deref().is_some_and(|r| same(ident, r)))
    }

    /// The column or alias of this name, here or outside.
    pub fn find(&self, ident: &Ident) -> Result<Option<Typed>, DatasetError> {
        let found = self.named(ident, |c| !c.hidden);
        match found.as_slice() {
            [one] => return Ok(Some(typed(one, ident))),
            [] => {}
            [first, second, ..] => {
                let relation = |c: &Column| c.relation.clone().unwrap_or_default();
                return Err(at(
                    ident.span.start,
                    format!(
                        "`{}` could be of `{}` or of `{}`; put the table's name before it",
                        ident.value,
                        relation(first),
                        relation(second)
                    ),
                ));
            }
        }
        if let Some((_, typed)) = self.aliases.iter().find(|(name, _)| same(ident, name)) {
            return Ok(Some(Typed { at: ident.span.start, ..typed.clone() }));
        }
        self.outer.map_or(Ok(None), |outer| outer.find(ident))
    }

    /// The column `relation.name`, and whether there is a relation of that name at all.
    pub fn find_in(&self, relation: &Ident, ident: &Ident) -> (bool, Option<Typed>) {
        if self.has_relation(relation) {
            let of = |c: &Column| c.relation.as_deref().is_some_and(|r| same(relation, r));
            return (true, self.named(ident, of).first().map(|column| typed(column, ident)));
        }
        self.outer.map_or((false, None), |outer| outer.find_in(relation, ident))
    }

    /// Why `ident` is not found, with what was perhaps meant.
    pub fn unknown(&self, ident: &Ident) -> DatasetError {
        let mut names: Vec<&str> = Vec::new();
        let mut scope = Some(self);
        while let Some(one) = scope {
            names.extend(one.columns.iter().map(|c| c.field.name().as_str()));
            names.extend(one.aliases.iter().map(|(name, _)| name.as_str()));
            scope = one.outer;
        }
        names.dedup();
        at(ident.span.start, format!("there is no column `{}`{}", ident.value, hint(&ident.value, &names)))
    }
}

fn typed(column: &Column, ident: &Ident) -> Typed {
    Typed::of_field(column.sql.clone(), &column.field, ident.span.start)
}

/// Whether an identifier means `name`.
pub(super) fn same(ident: &Ident, name: &str) -> bool {
    ident.value == name || (ident.quote_style.is_none() && ident.value.to_lowercase() == name)
}

/// The nearest of `names`, or all of them where they are few.
pub(super) fn hint(wrong: &str, names: &[&str]) -> String {
    let wrong = wrong.to_lowercase();
    let nearest = names
        .iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&wrong, &name.to_lowercase()), name))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((score, name)) if score >= NEAREST => format!("; did you mean `{name}`?"),
        _ if names.is_empty() => String::new(),
        _ if names.len() <= LISTED => {
            format!("; there are {}", names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "))
        }
        _ => String::new(),
    }
}
