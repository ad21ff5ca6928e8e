use super::*;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType as T, Fields, IntervalUnit, TimeUnit, UnionFields, UnionMode};
use proptest::prelude::*;
use rusqlite::{Connection, params_from_iter};
use std::sync::Arc;

/// Through a real SQLite table and back.
fn round_trip(field: &Field, array: &ArrayRef) -> ArrayRef {
    let connection = Connection::open_in_memory().unwrap();
    let declared = declared_type(field.data_type());
    connection.execute_batch(&format!("CREATE TABLE t(id INTEGER PRIMARY KEY, c {declared})")).unwrap();
    let source = CellSource::new(field, array).unwrap();
    for row in 0..array.len() {
        let mut insert = connection.prepare_cached("INSERT INTO t(c) VALUES (?1)").unwrap();
        insert.execute(params_from_iter([source.cell(row)])).unwrap();
    }
    let mut builder = CellBuilder::new(field).unwrap();
    let mut select = connection.prepare("SELECT c FROM t ORDER BY id").unwrap();
    let mut rows = select.query(()).unwrap();
    while let Some(row) = rows.next().unwrap() {
        builder.push(row.get_ref(0).unwrap()).unwrap();
    }
    builder.finish().unwrap()
}

/// Makes an array of a type out of typed JSON-like text, by the decoder itself.
fn array(field: &Field, cells: &[Cell<'_>]) -> ArrayRef {
    let mut builder = CellBuilder::new(field).unwrap();
    cells.iter().for_each(|cell| builder.push(cell.value()).unwrap());
    builder.finish().unwrap()
}

fn leaf() -> impl Strategy<Value = (T, BoxedStrategy<String>)> {
    fn integers(
        types: Vec<T>,
        range: std::ops::RangeInclusive<i64>,
    ) -> impl Strategy<Value = (T, BoxedStrategy<String>)> {
        proptest::sample::select(types)
            .prop_map(move |t| (t, range.clone().prop_map(|v| v.to_string()).boxed()))
    }
    let zone: Option<Arc<str>> = Some("Europe/Berlin".into());
    prop_oneof![
        Just((T::Boolean, any::<bool>().prop_map(|v| v.to_string()).boxed())),
        integers(vec![T::Int8], -128..=127),
        integers(vec![T::UInt8], 0..=255),
        integers(vec![T::UInt16], 0..=65_535),
        integers(
            vec![T::Int32, T::Date32, T::Time32(TimeUnit::Millisecond)],
            i32::MIN.into()..=i32::MAX.into()
        ),
        integers(vec![T::UInt32], 0..=u32::MAX.into()),
        integers(
            vec![
                T::Int64,
                T::Date64,
                T::Time64(TimeUnit::Nanosecond),
                T::Duration(TimeUnit::Microsecond),
                T::Timestamp(TimeUnit::Second, None),
                T::Timestamp(TimeUnit::Nanosecond, zone),
                T::Interval(IntervalUnit::YearMonth),
            ]
            .into_iter()
            .filter(|t| !matches!(t, T::Interval(_)))
            .collect(),
            i64::MIN..=i64::MAX
        ),
        Just((T::UInt64, any::<u64>().prop_map(|v| v.to_string()).boxed())),
        Just((T::Float64, any::<u64>().prop_map(|v| format!("\"#{v:x}\"")).boxed())),
        Just((T::Float32, any::<u32>().prop_map(|v| format!("\"#{v:x}\"")).boxed())),
        Just((T::Float16, any::<u16>().prop_map(|v| format!("\"#{v:x}\"")).boxed())),
        Just((
            T::Decimal128(38, 4),
            any::<i64>().prop_map(|v| format!("\"{}.{:04}\"", v / 10_000, (v % 10_000).abs())).boxed()
        )),
        proptest::sample::select(vec![
            T::Utf8,
            T::LargeUtf8,
            T::Utf8View,
            T::Dictionary(Box::new(T::Int32), Box::new(T::Utf8))
        ])
        .prop_map(|t| {
            let text = any::<String>().prop_map(|v| {
                let mut out = String::new();
                json::put_text(&v, &mut out);
                out
            });
            (t, text.boxed())
        }),
        proptest::sample::select(vec![T::Binary, T::LargeBinary, T::BinaryView]).prop_map(|t| {
            (t, proptest::collection::vec(any::<u8>(), 0..9).prop_map(|v| quoted(&v)).boxed())
        }),
        Just((T::FixedSizeBinary(16), any::<[u8; 16]>().prop_map(|v| quoted(&v)).boxed())),
        Just((T::Interval(IntervalUnit::MonthDayNano), any::<[u8; 16]>().prop_map(|v| quoted(&v)).boxed())),
        Just((T::Interval(IntervalUnit::DayTime), any::<[u8; 8]>().prop_map(|v| quoted(&v)).boxed())),
    ]
}

fn quoted(bytes: &[u8]) -> String {
    let mut out = String::new();
    json::put_bytes(bytes, &mut out);
    out
}

fn nested() -> impl Strategy<Value = (T, BoxedStrategy<String>)> {
    leaf().prop_recursive(3, 24, 4, |inner| {
        let item = |t: T| Arc::new(Field::new("item", t, true));
        let many = |value: BoxedStrategy<String>| {
            proptest::collection::vec(nullable(value), 0..4)
                .prop_map(|v| format!("[{}]", v.join(",")))
                .boxed()
        };
        prop_oneof![
            inner.clone().prop_map(move |(t, v)| (T::List(item(t)), many(v))),
            inner.clone().prop_map(move |(t, v)| (T::LargeList(item(t)), many(v))),
            inner.clone().prop_map(move |(t, v)| {
                let three =
                    proptest::collection::vec(nullable(v), 3).prop_map(|v| format!("[{}]", v.join(",")));
                (T::FixedSizeList(item(t), 3), three.boxed())
            }),
            (inner.clone(), inner.clone()).prop_map(|((ta, va), (tb, vb))| {
                let fields: Fields = vec![Field::new("a \"", ta, true), Field::new("b", tb, true)].into();
                let value =
                    (nullable(va), nullable(vb)).prop_map(|(a, b)| format!("{{\"a \\\"\":{a},\"b\":{b}}}"));
                (T::Struct(fields), value.boxed())
            }),
            inner.prop_map(|(t, v)| {
                let entries: Fields =
                    vec![Field::new("keys", T::Utf8, false), Field::new("values", t, true)].into();
                let map = T::Map(Arc::new(Field::new("entries", T::Struct(entries), false)), false);
                let value = proptest::collection::vec(nullable(v), 0..3).prop_map(|values| {
                    let entries: Vec<String> =
                        values.iter().enumerate().map(|(i, v)| format!("[\"k{i}\",{v}]")).collect();
                    format!("[{}]", entries.join(","))
                });
                (map, value.boxed())
            }),
        ]
    })
}

fn nullable(value: BoxedStrategy<String>) -> BoxedStrategy<String> {
    prop_oneof![1 => Just("null".to_owned()), 4 => value].boxed()
}

fn typed_values() -> impl Strategy<Value = (T, Vec<String>)> {
    nested().prop_flat_map(|(t, v)| (Just(t), proptest::collection::vec(nullable(v), 0..6)))
}

proptest! {
    #[test]
    fn every_type_comes_back_as_it_was((data_type, values) in typed_values()) {
        // A struct around it, so that any value can be given as JSON.
        let inner = Field::new("v", data_type, true);
        let outer = Field::new("outer", T::Struct(vec![inner.clone()].into()), true);
        let cells: Vec<Cell<'_>> =
            values.iter().map(|v| Cell::Text(format!("{{\"v\":{v}}}").into())).collect();
        let structs = array(&outer, &cells);
        let plain = arrow_array::cast::AsArray::as_struct(&structs).column(0).clone();
        prop_assert!(check(&Schema::new(vec![inner.clone()])).is_ok());
        let back = round_trip(&inner, &plain);
        prop_assert_eq!(plain.data_type(), back.data_type());
        prop_assert_eq!(bits(&plain), bits(&back));
        let back = round_trip(&outer, &structs);
        prop_assert_eq!(bits(&structs), bits(&back));
    }

    #[test]
    fn any_text_is_decoded_or_refused(text in any::<String>(), (data_type, _) in typed_values()) {
        let field = Field::new("c", data_type, true);
        let mut builder = CellBuilder::new(&field).unwrap();
        let _ = builder.push(ValueRef::Text(text.as_bytes()));
        let _ = builder.push(ValueRef::Blob(text.as_bytes()));
    }
}

/// Exact: NaN is equal to itself here, and 0.0 is not −0.0.
fn bits(array: &ArrayRef) -> String {
    let field = Field::new("c", array.data_type().clone(), true);
    let source = CellSource::new(&field, array).unwrap();
    (0..array.len()).map(|row| format!("{:?};", source.cell(row))).collect()
}

#[test]
fn negative_zero_and_nan_are_kept() {
    let field = Field::new("x", T::Float64, true);
    let given: ArrayRef =
        Arc::new(arrow_array::Float64Array::from(vec![-0.0, f64::NAN, f64::INFINITY, 3.0, 0.1]));
    let back = round_trip(&field, &given);
    let back = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Float64Type>(&back).clone();
    assert!(back.value(0).is_sign_negative() && back.value(1).is_nan() && back.value(2).is_infinite());
    assert_eq!((back.value(3), back.value(4)), (3.0, 0.1));
}

#[test]
fn a_vector_is_its_floats_in_little_endian() {
    let item = Arc::new(Field::new("item", T::Float32, true));
    let field = Field::new("v", T::FixedSizeList(item, 2), true);
    let bytes: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let given = array(&field, &[Cell::Blob(bytes.clone().into()), Cell::Null]);
    assert_eq!(CellSource::new(&field, &given).unwrap().cell(0), Cell::Blob(bytes.into()));
    let mut builder = CellBuilder::new(&field).unwrap();
    let error = builder.push(ValueRef::Blob(&[0; 12])).unwrap_err();
    assert_eq!(error.to_string(), "column `v` holds 2 values and was given 3");
}

#[test]
fn what_cannot_be_kept_is_refused_by_name() {
    let union = T::Union(UnionFields::empty(), UnionMode::Dense);
    let twice: Fields = vec![Field::new("a", T::Int8, true), Field::new("a", T::Int8, true)].into();
    let narrow = T::Dictionary(Box::new(T::Int8), Box::new(T::Utf8));
    for (data_type, says) in [
        (union, "column `x` is a union"),
        (T::Struct(twice), "column `x` is a struct with two fields named `a`"),
        (T::List(Arc::new(Field::new("item", narrow, true))), "column `x` has a dictionary with Int8 keys"),
    ] {
        let error = check(&Schema::new(vec![Field::new("x", data_type, true)])).unwrap_err().to_string();
        assert!(error.starts_with(says), "{error}");
    }
}

#[test]
fn values_of_another_type_are_refused_unless_nothing_is_lost() {
    let push = |data_type: T, cell: Cell<'_>| {
        let mut builder = CellBuilder::new(&Field::new("c", data_type, true)).unwrap();
        builder.push(cell.value()).map_err(|e| e.reason)
    };
    assert_eq!(push(T::Int32, Cell::Real(4.0)), Ok(()));
    assert_eq!(push(T::Int8, Cell::Integer(300)).unwrap_err(), "cannot hold 300: its type is Int8");
    assert_eq!(
        push(T::Int32, Cell::Real(4.5)).unwrap_err(),
        "wants an integer and was given a floating-point number"
    );
    assert_eq!(push(T::Utf8, Cell::Integer(4)).unwrap_err(), "wants text and was given an integer");
    assert_eq!(
        push(T::Boolean, Cell::Integer(2)).unwrap_err(),
        "wants true or false and was given an integer"
    );
    assert_eq!(push(T::Decimal128(4, 2), Cell::Real(12.5)), Ok(()));
    assert!(push(T::Decimal128(4, 2), Cell::Text("123.4".into())).is_err());
    assert!(push(T::Decimal128(4, 2), Cell::Text("1.234".into())).is_err());
}

#[test]
fn narrow_dictionaries_bound_a_batch() {
    let narrow = Field::new("d", T::Dictionary(Box::new(T::Int8), Box::new(T::Utf8)), true);
    let wide = Field::new("e", T::Utf8, true);
    let schema = Arc::new(Schema::new(vec![narrow.clone(), wide]));
    assert_eq!(batch_rows_max(&schema), 127);
    let cells: Vec<Cell<'_>> = (0..127).map(|i| Cell::Text(i.to_string().into())).collect();
    let packed = array(&narrow, &cells);
    assert_eq!(packed.data_type(), narrow.data_type());
    let schema = Arc::new(Schema::new(vec![narrow]));
    assert_eq!(RecordBatch::try_new(schema, vec![packed]).unwrap().num_rows(), 127);
}
