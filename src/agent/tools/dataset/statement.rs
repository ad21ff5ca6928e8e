//! What a SQL statement does, and to which table. Pure.

use sqlparser::ast::{FromTable, ObjectName, SetExpr, Statement, TableFactor, TableObject, TableWithJoins};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

/// Characters that a statement may have.
const STATEMENT_MAX: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Query,
    /// INSERT, UPDATE or DELETE.
    Change,
}

fn one(text: &str) -> Result<Statement, String> {
    if text.len() > STATEMENT_MAX {
        return Err(format!("the statement has more than {STATEMENT_MAX} bytes"));
    }
    let mut all = Parser::parse_sql(&GenericDialect {}, text)
        .map_err(|error| format!("the statement cannot be read: {error}"))?;
    match (all.pop(), all.is_empty()) {
        (Some(statement), true) => Ok(statement),
        (None, _) => Err("the statement is empty".into()),
        _ => Err("give one statement at a time".into()),
    }
}

/// What a statement does. Error: something that this toolkit does not do.
pub(super) fn kind(text: &str) -> Result<Kind, String> {
    match one(text)? {
        Statement::Query(query) if reads(&query.body) && with_reads(&query) => Ok(Kind::Query),
        Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => Ok(Kind::Change),
        _ => Err("this tool runs queries, INSERT, UPDATE and DELETE; for anything else ask a person".into()),
    }
}

fn with_reads(query: &sqlparser::ast::Query) -> bool {
    let parts = query.with.iter().flat_map(|with| &with.cte_tables);
    parts.into_iter().all(|part| reads(&part.query.body) && with_reads(&part.query))
}

fn reads(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_none(),
        SetExpr::Values(_) | SetExpr::Table(_) => true,
        SetExpr::Query(query) => reads(&query.body) && with_reads(query),
        SetExpr::SetOperation { left, right, .. } => reads(left) && reads(right),
        _ => false,
    }
}

/// The table that a change is made to.
pub(super) fn target(text: &str) -> Result<String, String> {
    let of = |tables: &[TableWithJoins]| match tables {
        [TableWithJoins { relation: TableFactor::Table { name, .. }, joins }] if joins.is_empty() => {
            plain(name)
        }
        _ => None,
    };
    let found = match one(text)? {
        Statement::Insert(insert) => match &insert.table {
            TableObject::TableName(name) => plain(name),
            _ => None,
        },
        Statement::Update(update) => of(std::slice::from_ref(&update.table)),
        Statement::Delete(delete) => match &delete.from {
            FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables) => of(tables),
        },
        _ => None,
    };
    found.ok_or_else(|| "the statement changes no table that it names simply; name one table".to_owned())
}

/// A name of one part, as the table is called.
fn plain(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [part] => part.as_ident().map(|ident| ident.value.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart() {
        for query in ["SELECT * FROM t", "WITH a AS (SELECT 1) SELECT * FROM a UNION SELECT 2", "VALUES (1)"]
        {
            assert_eq!(kind(query), Ok(Kind::Query), "{query}");
        }
        for (change, table) in [
            ("INSERT INTO t (a) VALUES (1)", "t"),
            ("UPDATE \"T t\" SET a = 1 WHERE b = 2", "T t"),
            ("DELETE FROM t WHERE a = 1", "t"),
        ] {
            assert_eq!(kind(change), Ok(Kind::Change), "{change}");
            assert_eq!(target(change).as_deref(), Ok(table), "{change}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (text, why) in [
            ("DROP TABLE t", "this tool runs"),
            ("CREATE TABLE x AS SELECT 1", "this tool runs"),
            ("SELECT 1; DELETE FROM t", "one statement"),
            ("SELECT * INTO x FROM t", "this tool runs"),
            ("", "empty"),
            ("zap", "cannot be read"),
        ] {
            let error = kind(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(kind(&"x".repeat(STATEMENT_MAX + 1)).is_err());
        assert!(target("UPDATE a.t SET x = 1").is_err());
    }
}
