//! YAML as far as the examples need it.

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::Value;

/// Reads one document; every scalar becomes a text, as Docker's labels and variables are.
#[track_caller]
pub(super) fn parse(text: &str) -> Value {
    let documents = Yaml::load_from_str(text).unwrap_or_else(|error| panic!("{error}"));
    let [document] = documents.as_slice() else { panic!("not one document: {documents:?}") };
    convert(document)
}

#[track_caller]
fn convert(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => value.to_string().into(),
        Yaml::Value(Scalar::Integer(value)) => value.to_string().into(),
        Yaml::Value(Scalar::FloatingPoint(value)) => value.to_string().into(),
        Yaml::Value(Scalar::String(value)) => value.as_ref().into(),
        Yaml::Sequence(items) => items.iter().map(convert).collect(),
        Yaml::Mapping(entries) => {
            entries.iter().map(|(key, value)| (convert(key).as_str().unwrap().to_owned(), convert(value))).collect()
        }
        other => panic!("the examples do without {other:?}"),
    }
}
