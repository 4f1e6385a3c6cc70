use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn load(content: &str) -> Result<Config, ConfigError> {
    load_with(content, &[], &[])
}

fn load_with(
    content: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(CONFIG_FILE);
    std::fs::write(&file, content).unwrap();
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    Config::load(&file, owned(environment), &owned(flags))
}

#[test]
fn written_file_reads_back_as_itself() {
    for config in [Config::default(), Config::dev()] {
        let mut read = load(&config.to_toml().unwrap()).unwrap();
        read.folder = PathBuf::new();
        assert_eq!(read, config);
    }
}

fn table_of(config: &Config) -> BTreeMap<String, toml::Value> {
    config.to_toml().unwrap().parse::<toml::Table>().unwrap().into_iter().collect()
}

#[test]
fn written_file_holds_every_key_with_a_comment() {
    let written = serde_json::to_value(Config::default()).unwrap();
    let keys: BTreeSet<&str> = written.as_object().unwrap().keys().map(String::as_str).collect();
    let documented: BTreeSet<&str> = KEYS.iter().map(Key::name).collect();
    assert_eq!(keys, documented);
    assert_eq!(documented.len(), KEYS.len());
    let file = Config::default().to_toml().unwrap();
    for key in documented {
        assert!(file.contains(&format!("\n{key} = ")), "{key}");
        assert!(!file.contains(&format!("\n\n{key} = ")), "{key} has no comment");
    }
}

#[test]
fn later_sources_win() {
    let file = "buckets_per_project = 1\nmin_free_space = \"1MiB\"\nonline_window = \"5s\"";
    let environment =
        [("UPLINK_SATELLITE_BUCKETS_PER_PROJECT", "2"), ("UPLINK_SATELLITE_ONLINE_WINDOW", "6s")];
    let config = load_with(file, &environment, &[("buckets_per_project", "3")]).unwrap();
    assert_eq!(config.buckets_per_project, 3);
    assert_eq!(config.online_window, Duration::from_secs(6));
    assert_eq!(config.min_free_space, 1 << 20);
    assert_eq!(config.api_key_cache, Config::default().api_key_cache);
}

#[test]
fn numbers_are_read_from_the_environment() {
    for key in [
        "buckets_per_project",
        "requests_per_batch",
        "requests_per_second",
        "segments_per_project",
        "uploads_per_key_and_second",
    ] {
        let variable = format!("{ENVIRONMENT_PREFIX}{}", key.to_uppercase());
        let config = load_with("", &[(&variable, "7")], &[]).unwrap();
        assert_eq!(table_of(&config)[key], toml::Value::Integer(7));
        assert!(load_with("", &[(&variable, "-7")], &[]).is_err());
    }
}

#[test]
fn unknown_keys_are_rejected_naming_the_nearest() {
    let error = load("min_fre_space = \"1GB\"").unwrap_err().to_string();
    assert!(error.contains("min_fre_space") && error.contains("min_free_space"), "{error}");
    let error = load_with("", &[("UPLINK_SATELLITE_LISTENS", "x")], &[]).unwrap_err().to_string();
    assert!(error.contains("UPLINK_SATELLITE_LISTENS") && error.contains("\"listen\""), "{error}");
    assert!(load_with("", &[], &[("shceme", "4/6/8/10-256")]).is_err());
}

#[test]
fn malformed_files_are_rejected_with_place_and_reason() {
    for content in [
        "listen = ",
        "listen = 7",
        "scheme = \"4/6\"",
        "online_window = \"5 parsecs\"",
        "min_free_space = \"-1\"",
        "distinct_networks = \"maybe\"",
        "buckets_per_project = -1",
        "database = \"postgres://satellite@db/uplink\"",
    ] {
        let error = load(content).unwrap_err();
        let ConfigError::Malformed { place, reason } = error else { panic!("{error:?}") };
        assert!(place.ends_with(CONFIG_FILE) && !reason.is_empty(), "{content}: {reason}");
    }
    assert!(matches!(
        Config::load(Path::new("/nowhere/satellite.toml"), [], &[]),
        Err(ConfigError::File { .. })
    ));
}
