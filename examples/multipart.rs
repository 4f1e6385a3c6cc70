//! Uploads the parts of an object concurrently: `UPLINK_ACCESS=… cargo run --example multipart`.

use uplink::{Access, CommitUploadOptions, PartReceipt, Project};

/// All parts but the last must have at least 5 MiB.
const PART_SIZE: usize = 5 << 20;

#[tokio::main]
async fn main() -> uplink::Result<()> {
    let grant = std::env::var("UPLINK_ACCESS").expect("UPLINK_ACCESS holds an access grant");
    let access = Access::parse(&grant)?;
    let project = Project::open(&access)?;
    project.ensure_bucket("videos").await?;

    let upload_id = project.begin_upload("videos", "film.mp4").await?;
    let (first, second) = tokio::try_join!(
        upload_part(&project, &upload_id, 1, vec![1; PART_SIZE]),
        upload_part(&project, &upload_id, 2, vec![2; 1000]),
    )?;
    let options = CommitUploadOptions::new().receipts([first, second]);
    let film = project.commit_upload_with("videos", "film.mp4", &upload_id, &options).await?;
    println!("{} bytes in two parts", film.size);
    Ok(())
}

async fn upload_part(
    project: &Project,
    upload_id: &str,
    number: u32,
    content: Vec<u8>,
) -> uplink::Result<PartReceipt> {
    let mut part = project.upload_part("videos", "film.mp4", upload_id, number)?;
    part.write(&content).await?;
    part.commit().await
}
