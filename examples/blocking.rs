//! Stores objects and reads them back without a runtime: `UPLINK_ACCESS=… cargo run --example blocking`.

use std::error::Error;
use std::io::{Read, Write};

use uplink::blocking::Project;
use uplink::{Access, ListItem};

fn main() -> Result<(), Box<dyn Error>> {
    let access = Access::parse(&std::env::var("UPLINK_ACCESS")?)?;
    let project = Project::open(&access)?;
    project.ensure_bucket("photos")?;

    let mut upload = project.upload_object("photos", "cat.jpg")?;
    upload.write_all(b"a cat")?;
    upload.commit()?;

    // Threads share the project.
    std::thread::scope(|scope| {
        let one = scope.spawn(|| project.put("photos", "one", "a note"));
        project.put("photos", "two", "a note")?;
        one.join().expect("no panic")
    })?;

    let mut text = String::new();
    project.download_object("photos", "cat.jpg")?.read_to_string(&mut text)?;
    let mut size = 0;
    for item in project.list_objects("photos")? {
        if let ListItem::Object(object) = item? {
            size += object.size;
        }
    }
    println!("{text}, {size} bytes in all");
    Ok(())
}
