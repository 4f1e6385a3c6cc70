//! Output of the program that measures the reference client.

use serde_json::Value;
use tokio::process::Command;
use uplink_interop::go;

use super::world::World;

const MIB: u64 = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn bench_transfers_an_object_and_reports_its_cost() {
    let world = World::start().await;
    for case in ["upload", "download"] {
        let mut bench = Command::new(go::program("bench").expect("built"));
        bench.args(["-mib", &MIB.to_string(), case]).env("UPLINK_ACCESS", &world.grant);
        let output = bench.kill_on_drop(true).output().await.expect("completed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!((&report["case"], &report["bytes"]), (&case.into(), &(MIB << 20).into()));
        let number = |name: &str| report[name].as_f64().unwrap_or_default();
        for name in ["seconds", "cpu_seconds", "idle_kib", "peak_kib"] {
            assert!(number(name) > 0.0, "{name} in {report}");
        }
        assert!(number("peak_kib") >= number("idle_kib"), "{report}");
        let first = number("first_byte_seconds");
        let expected = case == "download";
        assert_eq!(first > 0.0 && first <= number("seconds"), expected, "{report}");
    }
    let found = world.project.stat_object("bench", "key").await.expect("exists");
    assert_eq!(found.size, MIB << 20);
}
