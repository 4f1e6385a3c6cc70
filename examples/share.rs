//! Shares one prefix read-only for an hour: `UPLINK_ACCESS=… cargo run --example share`.

use std::time::{Duration, SystemTime};

use uplink::{Access, Permission, Project, SharePrefix};

#[tokio::main]
async fn main() -> uplink::Result<()> {
    let grant = std::env::var("UPLINK_ACCESS").expect("UPLINK_ACCESS holds an access grant");
    let access = Access::parse(&grant)?;
    let project = Project::open(&access)?;
    project.ensure_bucket("photos").await?;
    project.put("photos", "trips/cat.jpg", "a cat").await?;

    let hour = SystemTime::now() + Duration::from_secs(3600);
    let permission = Permission::read_only().not_after(hour);
    let shared = access.share(&permission, &[SharePrefix::new("photos", "trips/")])?;

    // The guest receives the text form, which is a secret.
    let guest = Project::open(&Access::parse(&shared.serialize()?)?)?;
    println!("read {} bytes", guest.get("photos", "trips/cat.jpg").await?.len());
    match guest.put("photos", "trips/dog.jpg", "a dog").await {
        Ok(_) => println!("the guest may write"),
        Err(error) => println!("{error}"),
    }
    Ok(())
}
