//! Operations as JSON has them. One whose fields are all left out is its name alone, as it is in version 1 for what had
//! no fields there.

use serde::de::{Deserializer, Error};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Op;

/// Operations all of whose fields may be left out.
const BARE: [&str; 3] = ["avg_pool", "max_pool", "min_pool"];

pub(super) fn serialize<S: Serializer>(op: &Op, serializer: S) -> Result<S::Ok, S::Error> {
    match op {
        Op::AvgPool { window: None } | Op::MaxPool { window: None } | Op::MinPool { window: None } => {
            serializer.serialize_str(op.name())
        }
        _ => op.serialize(serializer),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Op, D::Error> {
    let value = match Value::deserialize(deserializer)? {
        Value::String(name) if BARE.contains(&name.as_str()) => json!({ name: {} }),
        value => value,
    };
    Op::deserialize(value).map_err(D::Error::custom)
}
