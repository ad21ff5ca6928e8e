//! FROM: tables, subqueries, joins.

use super::expr::Translator;
use super::query::{Binder, alias_name, column, renamed};
use super::scope::{Column, Scope, hint};
use super::text::at;
use super::typed::{Typed, identifier};
use crate::dataset::DatasetError;
use arrow_schema::FieldRef;
use sqlparser::ast::{
    Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectNamePart, Spanned as _, TableAlias, TableFactor,
    TableWithJoins,
};
use sqlparser::tokenizer::Location;

/// Most relations joined in one query: SQLite's own limit is 64.
const MAX_JOINS: usize = 32;

impl Binder<'_> {
    /// ` FROM …`, or nothing. Adds the columns to the scope.
    pub fn from(
        &self,
        translator: &mut Translator<'_>,
        scope: &mut Scope<'_>,
        from: &[TableWithJoins],
    ) -> Result<String, DatasetError> {
        let joins = from.len() + from.iter().map(|one| one.joins.len()).sum::<usize>();
        if joins > MAX_JOINS {
            return Err(DatasetError::invalid(format!(
                "SQL: at most {MAX_JOINS} tables are joined in one query"
            )));
        }
        let mut printed = Vec::with_capacity(from.len());
        for one in from {
            printed.push(self.joined(translator, scope, one)?);
        }
        Ok(if printed.is_empty() { String::new() } else { format!(" FROM {}", printed.join(" CROSS JOIN ")) })
    }

    fn joined(
        &self,
        translator: &mut Translator<'_>,
        scope: &mut Scope<'_>,
        joined: &TableWithJoins,
    ) -> Result<String, DatasetError> {
        let start = scope.columns.len();
        let mut sql = self.factor(translator, scope, &joined.relation)?;
        for join in &joined.joins {
            sql.push_str(&self.join(translator, scope, join, start)?);
        }
        Ok(sql)
    }

    fn join(
        &self,
        translator: &mut Translator<'_>,
        scope: &mut Scope<'_>,
        join: &Join,
        start: usize,
    ) -> Result<String, DatasetError> {
        use JoinOperator as J;
        let here = join.relation.span().start;
        let (word, constraint) = match &join.join_operator {
            J::Join(c) | J::Inner(c) | J::StraightJoin(c) => ("JOIN", c),
            J::Left(c) | J::LeftOuter(c) => ("LEFT JOIN", c),
            J::Right(c) | J::RightOuter(c) => ("RIGHT JOIN", c),
            J::FullOuter(c) => ("FULL JOIN", c),
            J::CrossJoin(c) => ("CROSS JOIN", c),
            _ => return Err(at(here, "joins are INNER, LEFT, RIGHT, FULL and CROSS here; use EXISTS or IN")),
        };
        let middle = scope.columns.len();
        let right = self.factor(translator, scope, &join.relation)?;
        let on = match constraint {
            JoinConstraint::None if word == "JOIN" || word == "CROSS JOIN" => String::new(),
            JoinConstraint::None => return Err(at(here, format!("{word} needs ON or USING"))),
            JoinConstraint::On(condition) => {
                let typed = translator.expr(scope, condition)?;
                format!(" ON {}", translator.boolean(typed)?.sql)
            }
            JoinConstraint::Using(names) => {
                let mut idents = Vec::with_capacity(names.len());
                for name in names {
                    match name.0.as_slice() {
                        [ObjectNamePart::Identifier(ident)] => idents.push(ident.clone()),
                        _ => return Err(at(here, "USING names columns without their table")),
                    }
                }
                self.using(translator, scope, &idents, (start, middle), here)?
            }
            JoinConstraint::Natural => {
                let idents: Vec<Ident> = scope.columns[middle..]
                    .iter()
                    .filter(|right| {
                        let same = |left: &&Column| !left.hidden && left.field.name() == right.field.name();
                        scope.columns[start..middle].iter().any(|left| same(&left))
                    })
                    .map(|right| Ident::with_quote('"', right.field.name().clone()))
                    .collect();
                self.using(translator, scope, &idents, (start, middle), here)?
            }
        };
        Ok(format!(" {word} {right}{on}"))
    }

    /// Joins on equal columns; each pair stands as one column at the left one's place.
    fn using(
        &self,
        translator: &mut Translator<'_>,
        scope: &mut Scope<'_>,
        idents: &[Ident],
        (start, middle): (usize, usize),
        here: Location,
    ) -> Result<String, DatasetError> {
        let mut conditions = Vec::with_capacity(idents.len());
        for ident in idents {
            let find = |columns: &[Column]| {
                columns.iter().position(|c| !c.hidden && super::scope::same(ident, c.field.name()))
            };
            let left = find(&scope.columns[start..middle]).map(|at| start + at);
            let right = find(&scope.columns[middle..]).map(|at| middle + at);
            let (Some(left), Some(right)) = (left, right) else {
                return Err(at(here, format!("USING: `{}` is not a column of both sides", ident.value)));
            };
            let typed = |c: &Column| Typed::of_field(c.sql.clone(), &c.field, here);
            let (a, b) = (scope.columns[left].clone(), scope.columns[right].clone());
            conditions.push(translator.compare("=", typed(&a), typed(&b), here)?.sql);
            scope.columns[left].hidden = true;
            scope.columns[right].hidden = true;
            scope.columns.push(Column {
                relation: None,
                sql: format!("coalesce({}, {})", a.sql, b.sql),
                field: a.field,
                hidden: false,
            });
        }
        Ok(if conditions.is_empty() { String::new() } else { format!(" ON {}", conditions.join(" AND ")) })
    }

    fn factor(
        &self,
        translator: &mut Translator<'_>,
        scope: &mut Scope<'_>,
        factor: &TableFactor,
    ) -> Result<String, DatasetError> {
        let here = factor.span().start;
        match factor {
            TableFactor::Table { name, alias, args: None, version: None, sample: None, .. } => {
                let Some(ObjectNamePart::Identifier(ident)) = name.0.last() else {
                    return Err(at(here, format!("`{name}` is not a table")));
                };
                let Some((sql, fields, named)) = self.relation(ident) else {
                    let names = self.names();
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    let hint = hint(&ident.value, &names);
                    return Err(at(here, format!("there is no table `{}`{hint}", ident.value)));
                };
                let relation = alias.as_ref().map_or_else(|| alias_of(ident), |a| alias_name(&a.name));
                let own = self.fresh("t");
                let sql_names: Vec<String> = if named {
                    (0..fields.len()).map(column).collect()
                } else {
                    fields.iter().map(|f| identifier(f.name())).collect()
                };
                let fields = name_columns(fields, alias.as_ref())?;
                add(scope, &relation, &own, fields, sql_names, here)?;
                Ok(format!("{sql} AS {}", identifier(&own)))
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                let nothing = Scope::default();
                let bound = translator.apart(|t| self.query(t, &nothing, subquery))?;
                let own = self.fresh("t");
                let fields = match alias {
                    Some(alias) => renamed(&bound.outputs, alias)?,
                    None => super::select::outputs_of(&bound.outputs).collect(),
                };
                let relation = alias.as_ref().map_or_else(|| own.clone(), |a| alias_name(&a.name));
                let names = (0..fields.len()).map(column).collect();
                add(scope, &relation, &own, fields, names, here)?;
                Ok(format!("({}) AS {}", bound.sql, identifier(&own)))
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                Ok(format!("({})", self.joined(translator, scope, table_with_joins)?))
            }
            TableFactor::UNNEST {
                alias, array_exprs, with_offset: false, with_ordinality: false, ..
            } => self.unnest(translator, scope, array_exprs, alias.as_ref(), here),
            TableFactor::Table { version: Some(_), .. } => {
                Err(at(here, "a version is chosen with the request's `tables`, not in the statement"))
            }
            other => Err(at(here, format!("`{other}` is not known in FROM here"))),
        }
    }

    /// Rows out of a list; columns of the tables before it may be named in it.
    fn unnest(
        &self,
        translator: &mut Translator<'_>,
        scope: &mut Scope<'_>,
        lists: &[Expr],
        alias: Option<&TableAlias>,
        here: Location,
    ) -> Result<String, DatasetError> {
        let [list] = lists else {
            return Err(at(here, "unnest takes one list here"));
        };
        let typed = translator.expr(scope, list)?;
        let (list, item) = translator.json_list(typed)?;
        if !super::nested::plain_in_json(&item) {
            return Err(at(here, format!("a list of {item} cannot be unnested here")));
        }
        let own = self.fresh("t");
        let relation = alias.map_or_else(|| "unnest".to_owned(), |a| alias_name(&a.name));
        let name = alias
            .and_then(|a| a.columns.first())
            .map_or_else(|| "unnest".to_owned(), |c| alias_name(&c.name));
        let field = Typed::new(String::new(), item, here).field(&name);
        add(scope, &relation, &own, vec![field], vec!["\"value\"".to_owned()], here)?;
        Ok(format!("json_each({}) AS {}", list.sql, identifier(&own)))
    }
}

fn alias_of(ident: &Ident) -> String {
    ident.value.clone()
}

fn name_columns(fields: Vec<FieldRef>, alias: Option<&TableAlias>) -> Result<Vec<FieldRef>, DatasetError> {
    let Some(alias) = alias else { return Ok(fields) };
    if alias.columns.len() > fields.len() {
        let text = format!(
            "`{}` has {} columns, and here are {} names",
            alias.name.value,
            fields.len(),
            alias.columns.len()
        );
        return Err(at(alias.name.span.start, text));
    }
    let named = |(index, field): (usize, FieldRef)| match alias.columns.get(index) {
        Some(column) => std::sync::Arc::new(field.as_ref().clone().with_name(alias_name(&column.name))),
        None => field,
    };
    Ok(fields.into_iter().enumerate().map(named).collect())
}

fn add(
    scope: &mut Scope<'_>,
    relation: &str,
    own: &str,
    fields: Vec<FieldRef>,
    names: Vec<String>,
    here: Location,
) -> Result<(), DatasetError> {
    if scope.columns.iter().any(|c| c.relation.as_deref() == Some(relation)) {
        return Err(at(here, format!("two tables are called `{relation}`; give one an alias")));
    }
    let own = identifier(own);
    for (field, name) in fields.into_iter().zip(names) {
        let sql = format!("{own}.{name}");
        scope.columns.push(Column { relation: Some(relation.to_owned()), field, sql, hidden: false });
    }
    Ok(())
}
