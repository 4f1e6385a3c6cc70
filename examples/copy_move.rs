//! Copies and renames an object without transferring it: `UPLINK_ACCESS=… cargo run --example copy_move`.

use std::collections::BTreeMap;

use uplink::{Access, CopyOptions, Project};

#[tokio::main]
async fn main() -> uplink::Result<()> {
    let grant = std::env::var("UPLINK_ACCESS").expect("UPLINK_ACCESS holds an access grant");
    let access = Access::parse(&grant)?;
    let project = Project::open(&access)?;
    project.ensure_bucket("photos").await?;
    project.put("photos", "cat.jpg", "a cat").await?;

    let title = BTreeMap::from([("title".to_owned(), "A cat".to_owned())]);
    let options = CopyOptions::new().custom_metadata(title);
    let copy =
        project.copy_object_with("photos", "cat.jpg", "photos", "copy.jpg", &options).await?;
    println!("copied {} bytes with {:?}", copy.size, copy.custom_metadata);

    project.move_object("photos", "copy.jpg", "photos", "archive/cat.jpg").await?;
    let moved = project.stat_object("photos", "archive/cat.jpg").await?;
    println!("moved to {}", moved.key);
    Ok(())
}
