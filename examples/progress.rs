//! Shows the progress of an upload and of a download: `UPLINK_ACCESS=… cargo run --example progress`.

use std::io::Write;

use uplink::{Access, Project};

const SIZE: usize = 8 << 20;

#[tokio::main]
async fn main() -> uplink::Result<()> {
    let grant = std::env::var("UPLINK_ACCESS").expect("UPLINK_ACCESS holds an access grant");
    let access = Access::parse(&grant)?;
    let project = Project::open(&access)?;
    project.ensure_bucket("videos").await?;

    let mut upload = project.upload_object("videos", "clip.mp4")?;
    upload.on_progress(|sent| show("uploaded", sent));
    upload.write(&vec![7; SIZE]).await?;
    upload.commit().await?;
    println!();

    let mut download = project.download_object("videos", "clip.mp4").await?;
    download.on_progress(|read| show("downloaded", read));
    while download.chunk().await?.is_some() {}
    println!();
    Ok(())
}

/// Overwrites the line with the bytes transferred so far.
fn show(what: &str, bytes: u64) {
    print!("\r{what} {:3} %", bytes * 100 / SIZE as u64);
    let _ = std::io::stdout().flush();
}
