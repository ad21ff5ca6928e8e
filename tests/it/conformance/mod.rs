//! The public MeshAgent clients, unchanged, against our server. The scripts are in `tests/conformance`.

mod installed;
