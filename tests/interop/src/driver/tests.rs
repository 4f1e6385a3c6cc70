//! Misbehaving drivers, simulated by shell scripts.

use serde_json::json;

use super::*;

fn driver(script: &str) -> Driver {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Driver::start(command).expect("a shell").with_timeout(Duration::from_secs(20))
}

#[tokio::test]
async fn responses_and_client_errors_come_back_in_order() {
    let mut driver = driver(
        r#"read -r a; printf '{"got":%s}\n' "$a"
           read -r b; echo '{"error":"no such thing","kind":"ErrObjectNotFound","code":5}'
           read -r c; echo null"#,
    );
    let command = json!({"op": "first", "key": "a\nb"});
    assert_eq!(driver.call(&command).await, Ok(json!({"got": command})));
    let refused = driver.call(&json!({"op": "second"})).await.unwrap_err();
    let expected = ClientError {
        text: "no such thing".to_owned(),
        kind: "ErrObjectNotFound".to_owned(),
        code: 5,
    };
    assert_eq!(refused.client_error(), Ok(expected));
    assert_eq!(driver.call(&json!({"op": "third"})).await, Ok(Value::Null));
}

#[tokio::test]
async fn timeout_fails_the_call_and_all_later_calls() {
    let mut driver = driver("sleep 60").with_timeout(Duration::from_millis(50));
    let error = driver.call(&json!({"op": "stat"})).await.unwrap_err();
    assert!(matches!(&error, DriverError::TimedOut { op, .. } if op == "stat"), "{error}");
    let error = driver.call(&json!({"op": "list"})).await.unwrap_err();
    assert!(matches!(&error, DriverError::OutOfSync { op } if op == "list"), "{error}");
    assert!(error.client_error().is_err());
}

#[tokio::test]
async fn exit_and_invalid_output_are_errors() {
    let error = driver("read -r a; exit 3").call(&json!({"op": "stat"})).await.unwrap_err();
    assert!(matches!(&error, DriverError::Exited { op, .. } if op == "stat"), "{error}");
    let error = driver("read -r a; echo panic").call(&json!({"op": "stat"})).await.unwrap_err();
    assert!(matches!(&error, DriverError::Response { op, .. } if op == "stat"), "{error}");
}

#[tokio::test]
async fn missing_program_is_named() {
    let error = Driver::start(Command::new("/no/such/driver")).unwrap_err();
    assert!(error.to_string().starts_with("/no/such/driver: "), "{error}");
}

#[tokio::test]
async fn dropped_driver_is_killed() {
    let mut driver = driver("read -r a; echo $$; exec sleep 600");
    let process = driver.call(&json!({"op": "start"})).await.expect("its number");
    let folder = format!("/proc/{process}");
    assert!(Path::new(&folder).exists());
    drop(driver);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    // Killed immediately, reaped by the runtime a little later.
    while running(&folder) {
        assert!(std::time::Instant::now() < deadline, "process {process} still runs");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn running(folder: &str) -> bool {
    let stat = std::fs::read_to_string(format!("{folder}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}
