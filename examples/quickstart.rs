//! Stores objects and reads them back: `UPLINK_ACCESS=… cargo run --example quickstart`.

use uplink::{Access, Project};

#[tokio::main]
async fn main() -> uplink::Result<()> {
    let grant = std::env::var("UPLINK_ACCESS").expect("UPLINK_ACCESS holds an access grant");
    let access = Access::parse(&grant)?;
    let project = Project::open(&access)?;
    project.ensure_bucket("photos").await?;

    project.put("photos", "note.txt", "a short text").await?;
    let note = project.get("photos", "note.txt").await?;

    let mut upload = project.upload_object("photos", "cat.jpg")?;
    upload.write(b"a cat").await?;
    upload.commit().await?;

    let mut size = note.len();
    let mut download = project.download_object("photos", "cat.jpg").await?;
    while let Some(chunk) = download.chunk().await? {
        size += chunk.len();
    }
    println!("{size} bytes");
    Ok(())
}
