//! Judges that misbehave; shell scripts stand in for them.

use serde_json::json;

use super::*;

fn judge(script: &str) -> Judge {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Judge::start(command).expect("a shell").with_deadline(Duration::from_secs(20))
}

#[tokio::test]
async fn answers_come_back_in_order_and_refusals_as_such() {
    let mut judge = judge(
        r#"read -r a; printf '{"got":%s}\n' "$a"
           read -r b; echo '{"error":"no such thing","kind":"ErrObjectNotFound","code":5}'
           read -r c; echo null"#,
    );
    let command = json!({"op": "first", "key": "a\nb"});
    assert_eq!(judge.ask(&command).await, Ok(json!({"got": command})));
    let refused = judge.ask(&json!({"op": "second"})).await.unwrap_err();
    let expected =
        Refusal { text: "no such thing".to_owned(), kind: "ErrObjectNotFound".to_owned(), code: 5 };
    assert_eq!(refused.refusal(), Ok(expected));
    assert_eq!(judge.ask(&json!({"op": "third"})).await, Ok(Value::Null));
}

#[tokio::test]
async fn silence_ends_at_the_deadline_and_nothing_is_asked_after_it() {
    let mut judge = judge("sleep 60").with_deadline(Duration::from_millis(50));
    let error = judge.ask(&json!({"op": "stat"})).await.unwrap_err();
    assert!(matches!(&error, JudgeError::Deadline { op, .. } if op == "stat"), "{error}");
    let error = judge.ask(&json!({"op": "list"})).await.unwrap_err();
    assert!(matches!(&error, JudgeError::Lost { op } if op == "list"), "{error}");
    assert!(error.refusal().is_err());
}

#[tokio::test]
async fn program_that_ends_or_babbles_is_no_answer() {
    let error = judge("read -r a; exit 3").ask(&json!({"op": "stat"})).await.unwrap_err();
    assert!(matches!(&error, JudgeError::Ended { op, .. } if op == "stat"), "{error}");
    let error = judge("read -r a; echo panic").ask(&json!({"op": "stat"})).await.unwrap_err();
    assert!(matches!(&error, JudgeError::Answer { op, .. } if op == "stat"), "{error}");
}

#[tokio::test]
async fn missing_program_is_named() {
    let error = Judge::start(Command::new("/no/such/judge")).unwrap_err();
    assert!(error.to_string().starts_with("/no/such/judge: "), "{error}");
}

#[tokio::test]
async fn dropped_judge_is_killed() {
    let mut judge = judge("read -r a; echo $$; exec sleep 600");
    let process = judge.ask(&json!({"op": "start"})).await.expect("its number");
    let folder = format!("/proc/{process}");
    assert!(Path::new(&folder).exists());
    drop(judge);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    // Killed at once; the runtime collects it a little later.
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
