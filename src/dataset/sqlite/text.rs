//! Full-text search by FTS5: an index per line, `f<line> <name>`, that holds the words of every row of the line and is
//! added to with the rows; without one, an index of the moment.

use super::database::Tx;
use super::error::of_query;
use super::index::StoredIndex;
use super::rank::{Ranked, limit, text_column};
use super::rows::Wanted;
use super::segment::wanted;
use super::view::{ROW, View, quote};
use crate::columnar::cell::plain_type;
use crate::dataset::DatasetError;
use arrow_schema::DataType;
use rusqlite::params;
use sha2::{Digest, Sha256};

/// How words are told apart: by Unicode, without accents, in their stem.
const TOKENIZER: &str = "porter unicode61 remove_diacritics 2";
/// Most words of a query.
const WORDS_MAX: usize = 256;

pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(plain_type(data_type), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Name of an index's own table.
fn table(line: i64, index: &str) -> String {
    let hash = Sha256::digest(index.as_bytes());
    format!("f{line}_{}", hex::encode(&hash[..8]))
}

/// Begins an index of a line with the rows that are there.
pub(super) fn create(tx: &Tx<'_>, line: i64, index: &str, numbers: &[i64]) -> Result<(), DatasetError> {
    let columns = columns(numbers);
    let sql = format!(
        "CREATE VIRTUAL TABLE {} USING fts5({columns}, content='', contentless_delete=1, tokenize='{TOKENIZER}')",
        table(line, index)
    );
    tx.c.execute_batch(&sql)?;
    add(tx, line, index, numbers, 0)
}

pub(super) fn drop(tx: &Tx<'_>, line: i64, index: &str) -> Result<(), DatasetError> {
    Ok(tx.c.execute_batch(&format!("DROP TABLE IF EXISTS {}", table(line, index)))?)
}

/// Adds the rows after `after`.
pub(super) fn add(
    tx: &Tx<'_>,
    line: i64,
    index: &str,
    numbers: &[i64],
    after: i64,
) -> Result<(), DatasetError> {
    let columns = columns(numbers);
    let sql = format!(
        "INSERT INTO {} (rowid, {columns}) SELECT row, {columns} FROM r{line} WHERE row > ?1",
        table(line, index)
    );
    tx.c.prepare_cached(&sql)?.execute([after])?;
    Ok(())
}

/// Forgets rows that no version shows any more: those that `which` selects, with its parameters.
pub(super) fn remove(
    tx: &Tx<'_>,
    line: i64,
    index: &str,
    which: &str,
    parameters: [i64; 2],
) -> Result<(), DatasetError> {
    let sql = format!("DELETE FROM {} WHERE rowid IN ({which})", table(line, index));
    tx.c.prepare_cached(&sql)?.execute(parameters)?;
    Ok(())
}

fn columns(numbers: &[i64]) -> String {
    numbers.iter().map(|number| format!("c{number}")).collect::<Vec<_>>().join(", ")
}

/// The rows among `from` (a `SELECT` of row numbers) that have a word of the query, best first.
pub(super) fn best(
    tx: &Tx<'_>,
    view: &View,
    query: &str,
    names: Option<&[String]>,
    from: &str,
    keep: usize,
) -> Result<Vec<Ranked>, DatasetError> {
    let all = wanted(&view.schema);
    let Some(words) = words(query)? else { return Ok(Vec::new()) };
    let indexes: Vec<StoredIndex> =
        tx.indexes(view.line)?.into_iter().filter(|index| super::index::is_text(&index.kind)).collect();
    let names: Vec<String> = match names {
        Some(names) => names.to_vec(),
        None if indexes.is_empty() => {
            let texts = all.iter().filter(|(field, _)| is_text(field.data_type()));
            texts.map(|(field, _)| field.name().clone()).collect()
        }
        None => {
            let mut names: Vec<String> = indexes.iter().flat_map(|index| index.columns.clone()).collect();
            names.sort();
            names.dedup();
            names
        }
    };
    let columns: Vec<&Wanted> = names.iter().map(|name| text_column(&all, name)).collect::<Result<_, _>>()?;
    if columns.is_empty() {
        return Err(DatasetError::invalid("the table has no text: no column is a string"));
    }
    let numbers: Vec<i64> = columns.iter().map(|(_, number)| *number).collect();
    // An index serves where it has all the columns, and all rows are the line's own.
    let own = view.parts.iter().all(|part| part.line == view.line);
    let serves = |index: &&StoredIndex| names.iter().all(|name| index.columns.contains(name));
    if let Some(index) = indexes.iter().find(serves).filter(|_| own) {
        let table = table(view.line, &index.name);
        let restricted = format!("{{{}}} : ({words})", self::columns(&numbers).replace(',', " "));
        ranked(tx, &table, &restricted, from, keep)
    } else {
        of_the_moment(tx, view, &columns)?;
        let found = ranked(tx, "temp.words", &words, from, keep);
        tx.c.execute_batch("DROP TABLE temp.words")?;
        found
    }
}

fn of_the_moment(tx: &Tx<'_>, view: &View, columns: &[&Wanted]) -> Result<(), DatasetError> {
    let numbers: Vec<i64> = columns.iter().map(|(_, number)| *number).collect();
    let names = self::columns(&numbers);
    tx.c.execute_batch(&format!(
        "CREATE VIRTUAL TABLE temp.words USING fts5({names}, content='', tokenize='{TOKENIZER}')"
    ))?;
    let inner: Vec<(&str, i64)> = columns.iter().map(|(field, n)| (field.name().as_str(), *n)).collect();
    let outer: Vec<String> = columns.iter().map(|(field, _)| quote(field.name())).collect();
    for part in &view.parts {
        let sql = format!(
            "INSERT INTO temp.words (rowid, {names}) SELECT {ROW}, {} FROM ({})",
            outer.join(", "),
            part.select(&inner)
        );
        tx.c.execute(&sql, ())?;
    }
    Ok(())
}

fn ranked(
    tx: &Tx<'_>,
    table: &str,
    words: &str,
    from: &str,
    keep: usize,
) -> Result<Vec<Ranked>, DatasetError> {
    let name = table.strip_prefix("temp.").unwrap_or(table);
    let sql = format!(
        "SELECT rowid, bm25({name}) AS score FROM {table} WHERE {name} MATCH ?1
         AND EXISTS (SELECT 1 FROM ({from}) WHERE {ROW} = {name}.rowid) ORDER BY score, rowid LIMIT ?2"
    );
    let mut select = tx.c.prepare(&sql).map_err(of_query)?;
    let rows = select.query_map(params![words, limit(keep)], |row| {
        #[allow(clippy::cast_possible_truncation, reason = "a score is only compared")]
        Ok(Ranked { row: row.get(0)?, rank: row.get::<_, f64>(1)? as f32 })
    });
    rows.map_err(of_query)?.collect::<Result<_, _>>().map_err(of_query)
}

/// The query for FTS5: rows with any of the words; words in quotes stand together.
fn words(query: &str) -> Result<Option<String>, DatasetError> {
    let mut terms: Vec<String> = Vec::new();
    for (index, piece) in query.split('"').enumerate() {
        if index % 2 == 1 {
            terms.push(piece.to_owned());
        } else {
            terms.extend(piece.split_whitespace().map(ToOwned::to_owned));
        }
    }
    terms.retain(|term| term.chars().any(char::is_alphanumeric));
    if terms.len() > WORDS_MAX {
        return Err(DatasetError::invalid(format!("a search takes at most {WORDS_MAX} words")));
    }
    let quoted: Vec<String> = terms.iter().map(|term| quote(term)).collect();
    Ok((!quoted.is_empty()).then(|| quoted.join(" OR ")))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_never_syntax() {
        assert_eq!(words("red fox*").unwrap().unwrap(), "\"red\" OR \"fox*\"");
        assert_eq!(
            words("a \"b NOT c\" OR -d").unwrap().unwrap(),
            "\"a\" OR \"b NOT c\" OR \"OR\" OR \"-d\""
        );
        assert_eq!(words(" - \" ").unwrap(), None);
        assert!(words(&"x ".repeat(300)).is_err());
    }
}
