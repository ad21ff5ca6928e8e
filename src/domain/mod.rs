//! The pure core: one file per noun, `decide` and `evolve`.
