//! Stores objects and reads them back: `UPLINK_ACCESS=… cargo run --example quickstart`.

use uplink::{Access, Project};

#[tokio::main]
async fn main() -> uplink::Result<()> {
    let access = Access::parse(&std::env::var("UPLINK_ACCESS").unwrap_or_default())?;
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
