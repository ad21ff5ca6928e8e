//! Arrow types as the declared types of columns. The usual ones have their SQL names; any other stands in the
//! declaration itself, as `'ARROW:…'` with the Arrow schema of the column in base64.

use super::SqliteError;
use crate::columnar::ipc;
use crate::columnar::typed::{JSON_EXTENSION, UUID_EXTENSION, is_json, is_uuid};
use arrow_schema::extension::EXTENSION_TYPE_NAME_KEY;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

const PREFIX: &str = "ARROW:";

/// The declared type of a column.
pub(super) fn declare(field: &Field) -> Result<String, SqliteError> {
    let usual = match field.data_type() {
        DataType::Boolean => "BOOLEAN",
        DataType::Int64 => "INTEGER",
        DataType::Float64 => "REAL",
        DataType::Utf8 if is_json(field) => "JSON TEXT",
        DataType::Utf8 => "TEXT",
        DataType::Binary => "BLOB",
        DataType::Date32 => "DATE",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "TIMESTAMP",
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" => "TIMESTAMPTZ",
        DataType::FixedSizeBinary(16) if is_uuid(field) => "UUID",
        DataType::Dictionary(_, inner) => return declare(&Field::new(field.name(), (**inner).clone(), true)),
        _ => {
            let bare =
                Field::new("c", field.data_type().clone(), true).with_metadata(field.metadata().clone());
            let schema = ipc::encode_schema(&Schema::new(vec![bare]))?;
            return Ok(format!("'{PREFIX}{}'", BASE64.encode(schema)));
        }
    };
    Ok(usual.to_owned())
}

/// The field of a column from its declared type, `None` where nothing is declared.
pub(super) fn field(name: &str, declared: &str, nullable: bool) -> Option<Field> {
    let declared = declared.trim();
    if declared.is_empty() {
        return None;
    }
    if let Some(encoded) = declared.trim_matches('\'').strip_prefix(PREFIX) {
        let schema = BASE64.decode(encoded).ok().and_then(|bytes| ipc::decode_schema(&bytes).ok())?;
        let field = schema.fields().first()?;
        return Some(field.as_ref().clone().with_name(name).with_nullable(nullable));
    }
    let upper = declared.to_ascii_uppercase();
    let plain = |data_type| Field::new(name, data_type, nullable);
    let extended = |data_type, extension: &str| {
        plain(data_type).with_metadata([(EXTENSION_TYPE_NAME_KEY.to_owned(), extension.to_owned())])
    };
    let word = upper.split(['(', ' ']).next().unwrap_or_default();
    Some(match word {
        "BOOLEAN" | "BOOL" => plain(DataType::Boolean),
        "DATE" => plain(DataType::Date32),
        "TIMESTAMP" | "DATETIME" => plain(DataType::Timestamp(TimeUnit::Microsecond, None)),
        "TIMESTAMPTZ" => plain(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        "JSON" | "JSONB" => extended(DataType::Utf8, JSON_EXTENSION),
        "UUID" => extended(DataType::FixedSizeBinary(16), UUID_EXTENSION),
        // The rules of SQLite for the affinity of a column, in their order.
        _ if upper.contains("INT") => plain(DataType::Int64),
        _ if ["CHAR", "CLOB", "TEXT"].iter().any(|part| upper.contains(part)) => plain(DataType::Utf8),
        _ if upper.contains("BLOB") || upper.contains("BINARY") => plain(DataType::Binary),
        _ if ["REAL", "FLOA", "DOUB"].iter().any(|part| upper.contains(part)) => plain(DataType::Float64),
        "NUMERIC" | "DECIMAL" | "NUMBER" => plain(DataType::Float64),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn every_type_is_found_again_in_its_declaration() {
        let extended = |data_type, name: &str| {
            Field::new("c", data_type, true)
                .with_metadata([(EXTENSION_TYPE_NAME_KEY.to_owned(), name.to_owned())])
        };
        let plain = |data_type| Field::new("c", data_type, true);
        for wanted in [
            plain(DataType::Boolean),
            plain(DataType::Int64),
            plain(DataType::Int8),
            plain(DataType::UInt64),
            plain(DataType::Float32),
            plain(DataType::Float64),
            plain(DataType::Utf8),
            plain(DataType::LargeUtf8),
            plain(DataType::LargeBinary),
            plain(DataType::Decimal128(10, 2)),
            plain(DataType::Timestamp(TimeUnit::Nanosecond, Some("Europe/Berlin".into()))),
            plain(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            plain(DataType::new_fixed_size_list(DataType::Float32, 3, true)),
            plain(DataType::Struct(vec![Arc::new(plain(DataType::Int64))].into())),
            extended(DataType::Utf8, JSON_EXTENSION),
            extended(DataType::LargeUtf8, JSON_EXTENSION),
            extended(DataType::FixedSizeBinary(16), UUID_EXTENSION),
        ] {
            let declared = declare(&wanted).unwrap();
            assert_eq!(field("c", &declared, true), Some(wanted), "{declared}");
        }
        let of = |declared| field("c", declared, true).map(|f| f.data_type().clone());
        assert_eq!(of("varchar(20)"), Some(DataType::Utf8));
        assert_eq!(of("BIGINT"), Some(DataType::Int64));
        assert_eq!(of("double precision"), Some(DataType::Float64));
        assert_eq!((of(""), of("WHATEVER"), of("'ARROW:!'")), (None, None, None));
    }
}
