use serde::Deserialize;

use super::*;
use crate::units::Size;

const SCHEMA: Schema = Schema {
    keys: &[
        Key::text("listen", "Address to listen on."),
        Key::text("capacity", "Space for pieces.\nOf this node.").example("\"500GB\""),
        Key::number("max_uploads", "Concurrent uploads."),
        Key::list("satellites", "Trusted satellites."),
    ],
    environment_prefix: "TEST_",
    other_variables: &["TEST_DIR"],
};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Settings {
    listen: Option<String>,
    capacity: Option<Size>,
    max_uploads: Option<u32>,
    satellites: Option<Vec<String>>,
}

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn text(layers: Result<Layers, ConfigError>) -> String {
    layers.and_then(Layers::parse::<Settings>).unwrap_err().to_string()
}

#[test]
fn later_layers_win_key_by_key() {
    let file = "listen = \"a\"\ncapacity = 7\nmax_uploads = 1";
    let variables = [("TEST_LISTEN", "b"), ("TEST_SATELLITES", "x, y"), ("TEST_MAX_UPLOADS", "2")];
    let flags = Settings { max_uploads: Some(3), ..Settings::default() };
    let layers = SCHEMA.document("file", file).unwrap();
    let layers = layers.environment(environment(&variables)).unwrap();
    let settings: Settings = layers.settings("flag", &flags).unwrap().parse().unwrap();
    let expected = Settings {
        listen: Some("b".to_owned()),
        capacity: Some(Size(7)),
        max_uploads: Some(3),
        satellites: Some(vec!["x".to_owned(), "y".to_owned()]),
    };
    assert_eq!(settings, expected);
}

#[test]
fn unknown_key_suggests_the_nearest_known_one() {
    let error = text(SCHEMA.document("node.toml", "capasity = \"1GB\""));
    assert_eq!(error, "node.toml: unknown key \"capasity\": did you mean \"capacity\"?");
    let error = text(SCHEMA.empty().environment(environment(&[("TEST_LISTENS", "x")])));
    assert_eq!(error, "TEST_LISTENS: unknown key \"listens\": did you mean \"listen\"?");
    let error = text(SCHEMA.empty().pairs("flag", &environment(&[("satelites", "x")])));
    assert_eq!(error, "flag: unknown key \"satelites\": did you mean \"satellites\"?");
    let long = "x".repeat(MAX_KEY_SHOWN + 1);
    let error = text(SCHEMA.document("node.toml", &format!("{long} = 1")));
    assert!(error.contains(&format!("\"{}\"", &long[1..])), "{error}");
}

#[test]
fn variables_outside_the_schema_are_ignored() {
    let variables = environment(&[("TEST_DIR", "x"), ("OTHER_LISTEN", "x"), ("PATH", "x")]);
    let settings: Settings = SCHEMA.empty().environment(variables).unwrap().parse().unwrap();
    assert_eq!(settings, Settings::default());
}

#[test]
fn malformed_value_names_the_place_that_set_it() {
    let layers = SCHEMA.document("node.toml", "listen = \"a\"").unwrap();
    let error = text(layers.environment(environment(&[("TEST_CAPACITY", "5 parsec")])));
    assert!(error.starts_with("TEST_CAPACITY: capacity: invalid size \"5 parsec\": "), "{error}");
    let error = text(SCHEMA.document("node.toml", "max_uploads = -1"));
    assert!(error.starts_with("node.toml: max_uploads: "), "{error}");
    let error = text(SCHEMA.document("node.toml", "max_uploads = ["));
    assert!(error.starts_with("node.toml: ") && error.contains("line 1"), "{error}");
}

#[test]
fn file_up_to_the_size_limit_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    let limit = usize::try_from(MAX_FILE_SIZE).unwrap();
    for (size, fits) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
        std::fs::write(&path, "#".repeat(size)).unwrap();
        assert_eq!(SCHEMA.file(&path).is_ok(), fits, "{size}");
    }
    let missing = SCHEMA.file(&folder.path().join("none.toml"));
    assert!(matches!(missing, Err(ConfigError::File { .. })));
}

#[test]
fn written_file_reads_back_and_explains_every_key() {
    let settings = Settings {
        capacity: Some(Size(3 << 30)),
        satellites: Some(vec!["a \"b\"".to_owned()]),
        ..Settings::default()
    };
    let file = SCHEMA.to_toml("A node.", &settings).unwrap();
    let expected = "# A node.\n\n# Address to listen on.\n#listen = \"\"\n\n# Space for pieces.\n\
                    # Of this node.\ncapacity = \"3GiB\"\n\n# Concurrent uploads.\n#max_uploads = 0\n";
    assert!(file.starts_with(expected), "{file}");
    let read: Settings = SCHEMA.document("file", &file).unwrap().parse().unwrap();
    assert_eq!(read, settings);
}

#[test]
fn variables_of_orchestrators_are_ignored() {
    let names = ["NAME", "PORT", "PORT_1_TCP", "SERVICE_HOST", "SERVICE_PORT_HTTP", "ENV_X"];
    let variables = names.map(|name| (format!("TEST_{name}"), "10.0.0.1".to_owned()));
    SCHEMA.empty().environment(variables).unwrap();
}

#[test]
fn variable_that_is_not_utf8_is_an_error() {
    let variables = environment(&[("TEST_DIR", "x"), ("TEST_LISTEN", "\u{fffd}")]);
    assert!(text(SCHEMA.empty().environment(variables)).contains("TEST_LISTEN"));
}
