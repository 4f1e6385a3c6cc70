//! One bucket, one encryption key for each tenant: `UPLINK_ACCESS=… cargo run --example multitenant`.

use uplink::{Access, EncryptionKey, Permission, Project, SharePrefix};

const BUCKET: &str = "app";

#[tokio::main]
async fn main() -> uplink::Result<()> {
    let grant = std::env::var("UPLINK_ACCESS").expect("UPLINK_ACCESS holds an access grant");
    let app = Access::parse(&grant)?;
    Project::open(&app)?.ensure_bucket(BUCKET).await?;

    let anna = tenant(&app, "anna", "anna's passphrase", b"16 random bytes!").await?;
    let ben = tenant(&app, "ben", "ben's passphrase", b"16 other bytes!!").await?;

    let anna = Project::open(&anna)?;
    anna.put(BUCKET, "anna/diary.txt", "dear diary").await?;
    println!("anna reads {} bytes", anna.get(BUCKET, "anna/diary.txt").await?.len());

    for (who, access) in [("ben", &ben), ("the application", &app)] {
        let read = Project::open(access)?.get(BUCKET, "anna/diary.txt").await;
        println!("{who}: {}", read.map_or("cannot read it", |_| "reads it"));
    }
    Ok(())
}

/// Returns the grant of one tenant: only its own prefix, encrypted with its own key.
async fn tenant(app: &Access, name: &str, passphrase: &str, salt: &[u8]) -> uplink::Result<Access> {
    let prefix = format!("{name}/");
    let mut access = app.share(&Permission::full(), &[SharePrefix::new(BUCKET, &prefix)])?;
    let key = EncryptionKey::derive(passphrase, salt).await?;
    access.override_encryption_key(BUCKET, &prefix, &key)?;
    Ok(access)
}
