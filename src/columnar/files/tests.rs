use super::*;
use arrow_schema::DataType;
use serde_json::json;
use std::io::Write;

fn pieces(format: Format, batch_rows: usize) -> Result<Reader, FileError> {
    Reader::new(format, batch_rows, &std::env::temp_dir())
}

fn read(format: Format, bytes: &[u8], piece: usize) -> Result<Vec<Value>, FileError> {
    let mut reader = pieces(format, 2)?;
    for piece in bytes.chunks(piece) {
        reader.push(piece)?;
    }
    reader.finish()?;
    let mut objects = vec![];
    while let Some(batch) = reader.next()? {
        objects.extend(typed::objects(&batch, Form::Plain)?);
    }
    Ok(objects)
}

fn write(format: Format, objects: &[Value]) -> Vec<u8> {
    let rows = typed::rows(objects, Form::Plain).unwrap();
    let schema = typed::infer(&rows).unwrap();
    let batch = typed::batch(&schema, rows).unwrap();
    let mut writer = Writer::new(format, &schema).unwrap();
    let mut out = writer.write(&batch).unwrap();
    out.extend(writer.write(&batch).unwrap());
    out.extend(writer.finish().unwrap());
    out
}

#[test]
fn every_format_comes_back_as_it_went_in_pieces_of_any_size() {
    let objects = [
        json!({"n": 1, "t": "grüße, \"you\"\nthere", "x": 1.5, "b": true}),
        json!({"n": null, "t": "", "x": -2.0, "b": false}),
        json!({"n": 3, "t": null, "x": 0.25, "b": null}),
    ];
    let twice = [objects.clone(), objects.clone()].concat();
    for format in [Format::Arrow, Format::Parquet, Format::Csv, Format::Tsv, Format::Json, Format::JsonLines]
    {
        let bytes = write(format, &objects);
        for piece in [1, 7, bytes.len()] {
            assert_eq!(read(format, &bytes, piece).unwrap(), twice, "{format:?} in pieces of {piece}");
        }
    }
}

#[test]
fn types_of_csv_are_inferred_and_kept() {
    let text = b"\xef\xbb\xbfday,at,id,name,empty\r\n2026-01-02,2026-01-02T03:04:05Z,1,x,\r\n,,2,\"7\",\r\n";
    let mut reader = pieces(Format::Csv, 100).unwrap();
    reader.push(text).unwrap();
    reader.finish().unwrap();
    let batch = reader.next().unwrap().unwrap();
    let types: Vec<String> = batch.schema().fields().iter().map(|f| f.data_type().to_string()).collect();
    assert_eq!(types[0], DataType::Date32.to_string());
    assert!(types[1].contains("UTC"), "{types:?}");
    assert_eq!(types[2..], ["Int64", "Utf8", "Utf8"]);
    let mixed = read(Format::Csv, b"a\n1\n2\nx\n", 100).unwrap();
    assert_eq!(mixed[0], json!({"a": "1"}), "what comes early makes the column text");
    let mut reader = pieces(Format::Csv, 1_000).unwrap();
    reader.push(format!("a\n{}", "1\n".repeat(BATCH_ROWS)).as_bytes()).unwrap();
    while reader.next().unwrap().is_some() {}
    let wrong = reader.push(b"x\n").and_then(|()| reader.finish()).unwrap_err().to_string();
    assert!(wrong.ends_with("`x` in column `a`, which held integers so far"), "{wrong}");
}

#[test]
fn broken_files_are_refused_with_their_row() {
    let error = |format, text: &str| read(format, text.as_bytes(), 3).unwrap_err().to_string();
    assert!(
        error(Format::Csv, "a,b\n1\n").starts_with("row 2: 1 fields"),
        "{}",
        error(Format::Csv, "a,b\n1\n")
    );
    assert!(error(Format::Csv, "a\n\"x").contains("quote is not closed"));
    assert!(error(Format::Csv, "a,a\n").contains("twice"));
    assert!(error(Format::Csv, "").contains("empty"));
    assert!(error(Format::Json, "[{\"a\":1},{\"a\":").contains("ends in the middle"));
    assert!(error(Format::Json, "hello").contains("where an object should begin"));
    assert!(error(Format::JsonLines, "{\"a\":1}\n{\"a\" 2}\n").starts_with("row 2"));
    assert!(read(Format::Arrow, b"no arrow at all, really", 100).is_err());
    assert_eq!(Format::of("auto", "x.XLSX").unwrap(), Format::Excel);
    assert!(pieces(Format::Excel, 1).unwrap_err().to_string().contains("convert"));
    assert!(
        read(Format::Parquet, b"PAR1 not really PAR1", 100).unwrap_err().to_string().contains("no Parquet")
    );
    assert!(read(Format::Parquet, b"", 1).is_err());
    assert!(Format::of("auto", "x.bin").unwrap_err().to_string().contains("cannot be told"));
    assert_eq!(Format::of("auto", "a/B.CSV").unwrap(), Format::Csv);
}

#[test]
fn files_without_rows_keep_what_is_known_of_their_columns() {
    let mut reader = pieces(Format::Csv, 10).unwrap();
    reader.push(b"a,b\n").unwrap();
    reader.finish().unwrap();
    let batch = reader.next().unwrap().unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (0, 2));
    assert_eq!(read(Format::Json, b"[]", 1).unwrap(), Vec::<Value>::new());
}

fn fixture(name: &str, sheet: Option<&str>) -> Result<Vec<Value>, FileError> {
    let path = format!("{}/tests/fixtures/tables/{name}", env!("CARGO_MANIFEST_DIR"));
    let file = File::open(&path).unwrap();
    let mut reader = Reader::local(Format::of("auto", &path).unwrap(), file, sheet, 1)?.unwrap();
    let mut objects = vec![];
    while let Some(batch) = reader.next()? {
        objects.extend(typed::objects(&batch, Form::Plain)?);
    }
    Ok(objects)
}

#[test]
fn parquet_of_other_programs_is_read_in_pieces_and_where_it_is() {
    for name in ["snappy.parquet", "gzip.parquet"] {
        let local = fixture(name, None).unwrap();
        assert_eq!(local.len(), 3, "{name}");
        assert_eq!((&local[0]["id"], &local[0]["tags"]), (&json!(1), &json!(["x"])));
        assert_eq!((&local[2]["id"], &local[2]["word"]), (&Value::Null, &json!("ü")));
        assert!(local[0]["at"].as_str().unwrap().starts_with("2026-01-02T00:00:00"));
        let path = format!("{}/tests/fixtures/tables/{name}", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(read(Format::Parquet, &bytes, 100).unwrap(), local);
        assert!(read(Format::Parquet, &bytes[..bytes.len() - 1], 100).is_err(), "cut off");
    }
}

#[test]
fn sheets_of_excel_files_are_rows_below_the_names_of_their_columns() {
    let rows = fixture("people.xlsx", None).unwrap();
    assert_eq!(rows.len(), 2, "empty rows are none");
    assert_eq!((&rows[0]["id"], &rows[0]["score"]), (&json!(1), &json!(1.5)));
    assert_eq!((&rows[1]["name"], &rows[1]["score"]), (&Value::Null, &json!(2.0)));
    assert!(rows[0]["born"].as_str().unwrap().starts_with("2001-02-03"));
    assert!(rows[0]["seen"].as_str().unwrap().starts_with("2026-01-02T03:04:05"));
    assert_eq!(rows[0].as_object().unwrap().len(), 5, "what is below no name is left out");
    assert_eq!(fixture("people.xlsx", Some("More")).unwrap(), [json!({"word": "grüße"})]);
    let missing = fixture("people.xlsx", Some("Nix")).unwrap_err().to_string();
    assert!(missing.contains("People, More"), "{missing}");
}

/// A Parquet file with this text in every row, and its length; read in blocks of any number of rows.
fn of_one_text(text: &str, rows: usize) -> (parquet::Whole, u64) {
    let objects = vec![json!({"t": text}); rows.min(250)];
    let table = typed::rows(&objects, Form::Plain).unwrap();
    let batch = typed::batch(&typed::infer(&table).unwrap(), table).unwrap();
    let mut writer = Writer::new(Format::Parquet, &batch.schema()).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    for _ in 0..rows / objects.len() {
        file.write_all(&writer.write(&batch).unwrap()).unwrap();
    }
    file.write_all(&writer.finish().unwrap()).unwrap();
    let length = file.metadata().unwrap().len();
    (parquet::Whole::open(file, 100_000).unwrap(), length)
}

#[test]
fn a_small_parquet_file_of_many_large_values_takes_no_more_memory_than_others() {
    let (mut whole, length) = of_one_text(&"x".repeat(20_000), 10_000);
    assert!(length < 100_000, "one text, {length} bytes");
    let mut rows = 0;
    while let Some(block) = whole.next().unwrap() {
        assert!(block.get_array_memory_size() < 2 * parquet::BLOCK_BYTES, "{} rows", block.num_rows());
        rows += block.num_rows();
    }
    assert_eq!(rows, 10_000);
    // The larger its values, the fewer rows at once.
    let (whole, _) = of_one_text(&"x".repeat(500_000), 10);
    assert!((16..64).contains(&whole.step), "{}", whole.step);
    let (whole, _) = of_one_text("x", 10);
    assert_eq!(whole.step, 128);
}

#[test]
fn parquet_files_of_too_many_columns_are_refused() {
    let row: serde_json::Map<String, Value> =
        (0..=parquet::COLUMNS_MAX).map(|n| (format!("c{n}"), json!(true))).collect();
    let bytes = write(Format::Parquet, &[Value::Object(row)]);
    let error = read(Format::Parquet, &bytes, bytes.len()).unwrap_err().to_string();
    assert!(error.contains("columns"), "{error}");
    let mut long = b"PAR1".to_vec();
    long.extend(u32::MAX.to_le_bytes());
    long.extend(b"PAR1");
    let error = read(Format::Parquet, &long, 100).unwrap_err().to_string();
    assert!(error.contains("description"), "{error}");
}
