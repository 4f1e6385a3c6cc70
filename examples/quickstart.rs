//! Uploads a few bytes and reads them back: `UPLINK_ACCESS=… cargo run --example quickstart`.

use uplink::{Access, DownloadOptions, Project, UploadOptions};

#[tokio::main]
async fn main() -> uplink::Result<()> {
    let access = Access::parse(&std::env::var("UPLINK_ACCESS").unwrap_or_default())?;
    let project = Project::open(&access)?;
    project.ensure_bucket("photos").await?;

    let mut upload = project.upload_object("photos", "cat.jpg", UploadOptions::new())?;
    upload.write(b"a cat").await?;
    upload.commit().await?;

    let mut download = project.download_object("photos", "cat.jpg", DownloadOptions::new()).await?;
    println!("{} bytes", download.read_to_vec().await?.len());
    Ok(())
}
