//! Functions that take values of fixed kinds and give a value of a fixed type: one row each.

use super::typed::Class;
use arrow_schema::DataType;

/// What an argument is cast to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Cast to text.
    Text,
    /// An integer, as it is.
    Whole,
    /// A number as a double.
    Real,
    /// Any number, as it is; decimals as doubles.
    Number,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    Text,
    Int32,
    Int64,
    Real,
    Boolean,
    /// The type of the first argument.
    First,
}

impl Gives {
    pub fn data_type(self, first: Option<&DataType>) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Real => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::First => first.cloned().unwrap_or(DataType::Null),
        }
    }
}

/// `names`: the first is `DataFusion`'s, the others its aliases. `sql`: the function that SQLite runs; with `{…}` it is
/// the text to print, with arguments by number.
#[derive(Debug)]
pub(super) struct Entry {
    pub names: &'static [&'static str],
    pub args: &'static [Kind],
    /// Fewest arguments; as many as `args` at most.
    pub least: usize,
    pub sql: &'static str,
    pub gives: Gives,
}

const fn entry(
    names: &'static [&'static str],
    args: &'static [Kind],
    least: usize,
    sql: &'static str,
    gives: Gives,
) -> Entry {
    Entry { names, args, least, sql, gives }
}

use Gives as G;
use Kind::{Number as N, Real as R, Text as T, Whole as W};

pub(super) const ENTRIES: &[Entry] = &[
    // text
    entry(&["lower"], &[T], 1, "ma_lower", G::Text),
    entry(&["upper"], &[T], 1, "ma_upper", G::Text),
    entry(&["initcap"], &[T], 1, "ma_initcap", G::Text),
    entry(&["octet_length"], &[T], 1, "octet_length", G::Int32),
    entry(&["bit_length"], &[T], 1, "(octet_length({0}) * 8)", G::Int32),
    entry(&["substr", "substring"], &[T, W, W], 2, "ma_substr", G::Text),
    entry(&["left"], &[T, W], 2, "ma_left", G::Text),
    entry(&["right"], &[T, W], 2, "ma_right", G::Text),
    entry(&["btrim", "trim"], &[T, T], 1, "trim", G::Text),
    entry(&["ltrim"], &[T, T], 1, "ltrim", G::Text),
    entry(&["rtrim"], &[T, T], 1, "rtrim", G::Text),
    entry(&["replace"], &[T, T, T], 3, "replace", G::Text),
    entry(&["translate"], &[T, T, T], 3, "ma_translate", G::Text),
    entry(&["reverse"], &[T], 1, "ma_reverse", G::Text),
    entry(&["repeat"], &[T, W], 2, "ma_repeat", G::Text),
    entry(&["lpad"], &[T, W, T], 2, "ma_lpad", G::Text),
    entry(&["rpad"], &[T, W, T], 2, "ma_rpad", G::Text),
    entry(&["ascii"], &[T], 1, "coalesce(unicode({0}), iif({0} IS NULL, NULL, 0))", G::Int32),
    entry(&["chr"], &[W], 1, "char", G::Text),
    entry(&["to_hex"], &[W], 1, "format('%x', {0})", G::Text),
    entry(&["strpos", "instr", "position"], &[T, T], 2, "instr", G::Int32),
    entry(&["starts_with"], &[T, T], 2, "ma_starts_with", G::Boolean),
    entry(&["ends_with"], &[T, T], 2, "ma_ends_with", G::Boolean),
    entry(&["contains"], &[T, T], 2, "(instr({0}, {1}) > 0)", G::Boolean),
    entry(&["split_part"], &[T, T, W], 3, "ma_split_part", G::Text),
    entry(&["levenshtein"], &[T, T], 2, "ma_levenshtein", G::Int32),
    entry(&["overlay"], &[T, T, W, W], 3, "ma_overlay", G::Text),
    entry(&["sha256"], &[T], 1, "ma_sha256", G::Text),
    // regular expressions
    entry(&["regexp_like"], &[T, T, T], 2, "ma_regexp", G::Boolean),
    entry(&["regexp_replace"], &[T, T, T, T], 3, "ma_regexp_replace", G::Text),
    entry(&["regexp_count"], &[T, T], 2, "ma_regexp_count", G::Int64),
    // numbers
    entry(&["sqrt"], &[R], 1, "ma_sqrt", G::Real),
    entry(&["cbrt"], &[R], 1, "ma_cbrt", G::Real),
    entry(&["exp"], &[R], 1, "ma_exp", G::Real),
    entry(&["ln"], &[R], 1, "ma_ln", G::Real),
    entry(&["log10"], &[R], 1, "ma_log10", G::Real),
    entry(&["log2"], &[R], 1, "ma_log2", G::Real),
    entry(&["power", "pow"], &[R, R], 2, "ma_power", G::Real),
    entry(&["sin"], &[R], 1, "ma_sin", G::Real),
    entry(&["cos"], &[R], 1, "ma_cos", G::Real),
    entry(&["tan"], &[R], 1, "ma_tan", G::Real),
    entry(&["asin"], &[R], 1, "ma_asin", G::Real),
    entry(&["acos"], &[R], 1, "ma_acos", G::Real),
    entry(&["atan"], &[R], 1, "ma_atan", G::Real),
    entry(&["atan2"], &[R, R], 2, "ma_atan2", G::Real),
    entry(&["degrees"], &[R], 1, "({0} * 57.29577951308232)", G::Real),
    entry(&["radians"], &[R], 1, "({0} * 0.017453292519943295)", G::Real),
    entry(&["pi"], &[], 0, "3.141592653589793", G::Real),
    entry(&["random"], &[], 0, "((random() & 9007199254740991) / 9007199254740992.0)", G::Real),
    entry(&["signum"], &[N], 1, "CAST(sign({0}) AS REAL)", G::Real),
    entry(&["floor"], &[R], 1, "ma_floor", G::Real),
    entry(&["ceil", "ceiling"], &[R], 1, "ma_ceil", G::Real),
    entry(&["gcd"], &[W, W], 2, "ma_gcd", G::Int64),
    entry(&["lcm"], &[W, W], 2, "ma_lcm", G::Int64),
    entry(&["factorial"], &[W], 1, "ma_factorial", G::Int64),
    entry(&["isnan"], &[R], 1, "ma_isnan", G::Boolean),
    entry(&["iszero"], &[N], 1, "({0} = 0)", G::Boolean),
    entry(&["abs"], &[N], 1, "abs", G::First),
    // texts that hold JSON, as Lance has them
    entry(&["json_extract"], &[T, T], 2, "CAST(json_extract({0}, {1}) AS TEXT)", G::Text),
    entry(&["json_get_string", "json_get_str"], &[T, T], 2, "CAST(({0} ->> {1}) AS TEXT)", G::Text),
    entry(&["json_get_int"], &[T, T], 2, "CAST(({0} ->> {1}) AS INTEGER)", G::Int64),
    entry(&["json_get_float"], &[T, T], 2, "CAST(({0} ->> {1}) AS REAL)", G::Real),
    entry(&["json_get_bool"], &[T, T], 2, "(({0} ->> {1}) <> 0)", G::Boolean),
    entry(&["json_get", "json_get_json"], &[T, T], 2, "({0} -> {1})", G::Text),
    entry(&["json_exists"], &[T, T], 2, "(json_type({0}, {1}) IS NOT NULL)", G::Boolean),
    entry(&["json_array_length"], &[T, T], 1, "json_array_length", G::Int64),
    entry(&["json_valid"], &[T], 1, "json_valid", G::Boolean),
];

/// Those that `call.rs` prints itself; here for hints.
pub(super) const OTHERS: &[&str] = &[
    "length",
    "char_length",
    "character_length",
    "concat",
    "concat_ws",
    "coalesce",
    "nullif",
    "nvl",
    "ifnull",
    "nvl2",
    "greatest",
    "least",
    "round",
    "trunc",
    "log",
    "nanvl",
    "date_trunc",
    "date_part",
    "date_bin",
    "now",
    "current_timestamp",
    "current_date",
    "to_timestamp",
    "to_timestamp_seconds",
    "to_timestamp_millis",
    "to_timestamp_micros",
    "to_timestamp_nanos",
    "to_date",
    "to_char",
    "date_format",
    "to_unixtime",
    "from_unixtime",
    "make_date",
    "arrow_cast",
    "arrow_typeof",
    "regexp_match",
    "get_field",
    "named_struct",
    "struct",
    "make_array",
    "array_length",
    "list_length",
    "cardinality",
    "empty",
    "array_empty",
    "array_has",
    "array_contains",
    "list_has",
    "list_contains",
    "array_has_any",
    "array_has_all",
    "array_element",
    "array_extract",
    "list_element",
    "array_append",
    "array_prepend",
    "array_concat",
    "array_cat",
    "array_slice",
    "array_position",
    "array_remove",
    "array_distinct",
    "array_sort",
    "array_reverse",
    "array_to_string",
    "array_max",
    "array_min",
    "string_to_array",
    "isnull",
];

pub(super) fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.names.contains(&name))
}

pub(super) fn names() -> Vec<&'static str> {
    ENTRIES.iter().flat_map(|entry| entry.names.iter().copied()).chain(OTHERS.iter().copied()).collect()
}

impl Kind {
    pub fn accepts(self, class: Class) -> bool {
        match self {
            Self::Text => !matches!(class, Class::List | Class::Struct | Class::Other),
            Self::Whole => matches!(class, Class::Integer | Class::Null),
            Self::Real | Self::Number => class.is_number() || class == Class::Null,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Whole => "an integer",
            Self::Real | Self::Number => "a number",
        }
    }
}
