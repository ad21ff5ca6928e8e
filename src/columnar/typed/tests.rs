use super::*;
use arrow_schema::{DataType, Schema, TimeUnit};
use serde_json::json;

fn through(values: &[Value], form: Form) -> Vec<Value> {
    let rows = rows(values, form).unwrap();
    let schema = infer(&rows).unwrap();
    objects(&batch(&schema, rows).unwrap(), form).unwrap()
}

#[test]
fn every_value_type_comes_back_as_it_went() {
    let row = json!({
        "null": null, "bool": true, "int": -3, "big": u64::MAX, "float": 1.5, "text": "grüße",
        "binary": {"binary": "aGk="},
        "uuid": {"uuid": "7f6c9a52-8c7e-4b8e-8d0a-0d9b6f0f7c11"},
        "date": {"date": "1969-12-31"},
        "utc": {"timestamp": "2026-01-02T03:04:05.000006Z"},
        "wall": {"timestamp": "2026-01-02T03:04:05"},
        "list": {"list": [1, null, 3]},
        "struct": {"struct": {"a": 1, "b": {"list": ["x"]}}},
        "json": {"json": {"any": [1, {"deep": null}]}},
    });
    let empty = json!({"int": null, "list": {"list": []}, "struct": null, "json": null});
    let back = through(&[row.clone(), empty], Form::Wrapped);
    assert_eq!(back[0], row);
    assert_eq!(back[1]["list"], json!({"list": []}));
    assert_eq!(back[1]["struct"], Value::Null);
    assert_eq!(back[1]["json"], Value::Null);
}

#[test]
fn plain_rows_need_no_wrappers() {
    let rows = [json!({"a": [1, 2.5], "s": {"x": 1}}), json!({"a": [], "s": {"x": null, "y": "t"}})];
    let back = through(&rows, Form::Plain);
    assert_eq!(back[0], json!({"a": [1.0, 2.5], "s": {"x": 1, "y": null}}));
    assert_eq!(back[1]["s"], json!({"x": null, "y": "t"}));
}

#[test]
fn values_fit_into_a_given_schema() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("small", DataType::Int8, true),
        Field::new("vector", DataType::new_fixed_size_list(DataType::Float32, 2, true), true),
        Field::new("price", DataType::Decimal128(10, 2), true),
        Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), true),
        Field::new("time", DataType::Time64(TimeUnit::Microsecond), true),
        Field::new("key", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), true),
    ]));
    let given = [
        json!({"small": 7, "vector": {"list": [1, 0.5]}, "price": 3.25, "at": "2026-01-01T00:00:00Z", "time": "01:02:03", "key": "k"}),
        json!({}),
    ];
    let made = batch(&schema, rows(&given, Form::Wrapped).unwrap()).unwrap();
    let back = objects(&made, Form::Plain).unwrap();
    assert_eq!(
        back[0],
        json!({"small": 7, "vector": [1.0, 0.5], "price": "3.25", "at": "2026-01-01T00:00:00Z", "time": "01:02:03", "key": "k"})
    );
    assert!(back[1].as_object().unwrap().values().all(Value::is_null));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let error =
        |values: &[Value]| rows(values, Form::Wrapped).and_then(|r| infer(&r)).unwrap_err().to_string();
    assert_eq!(
        error(&[json!({"a": [1]})]),
        "column `a`, row 0: a list is written {\"list\": […]}, not as a bare array"
    );
    assert_eq!(
        error(&[json!({"a": {"list": [], "x": 1}})]),
        "column `a`, row 0: an object must have one key, the name of the value's type"
    );
    assert_eq!(error(&[json!({"a": {"zap": 1}})]), "column `a`, row 0: there is no value type `zap`");
    assert_eq!(
        error(&[json!({"a": 1}), json!({"a": "x"})]),
        "column `a`, row 1: text where the column has an integer so far"
    );
    assert!(error(&[json!({"a": {"expression": "1"}})]).contains("update"));
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("n", DataType::Int8, false)]));
    let fit = |value: Value| batch(&schema, rows(&[value], Form::Wrapped).unwrap()).unwrap_err().to_string();
    assert_eq!(fit(json!({"n": "x"})), "column `n`, row 0: text does not fit its type");
    assert!(fit(json!({"n": 300})).contains("does not fit"));
    assert_eq!(fit(json!({})), "column `n`, row 0: null, where a value is needed");
    assert!(fit(json!({"m": 1})).contains("there is no column `m`; there are: n"));
}

#[test]
fn a_chunk_of_rows_is_read() {
    let chunk = json!({"kind": "rows", "rows": [{"columns": [{"name": "a", "value": {"uuid": "7f6c9a52-8c7e-4b8e-8d0a-0d9b6f0f7c11"}}]}]});
    let read = rows_chunk(chunk.as_object().unwrap()).unwrap();
    assert!(matches!(read[0][0].1, Typed::Uuid(_)));
    for wrong in [json!({}), json!({"rows": [1]}), json!({"rows": [{"columns": [{"value": 1}]}]})] {
        assert!(rows_chunk(wrong.as_object().unwrap()).is_err(), "{wrong}");
    }
    let mut deep = json!(1);
    for _ in 0..40 {
        deep = json!({"list": [deep]});
    }
    assert!(rows(&[json!({"a": deep})], Form::Wrapped).unwrap_err().to_string().contains("deep"));
}
