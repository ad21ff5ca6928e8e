//! What a user writes: typed documents, strict parsing, no IO.
