//! The console's files, embedded in the program. Adding a file to `hub/console/` means adding a line here; a test
//! compares the two.

use fanfare_server::Page;

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! page {
    ($path:literal, $content_type:expr, $file:literal) => {
        Page { path: $path, content_type: $content_type, body: include_bytes!(concat!("../console/", $file)) }
    };
}

/// Every file of the console.
pub(crate) fn pages() -> Vec<Page> {
    vec![
        page!("/", HTML, "index.html"),
        page!("/favicon.svg", IMAGE, "favicon.svg"),
        page!("/console/address.js", SCRIPT, "address.js"),
        page!("/console/app.js", SCRIPT, "app.js"),
        page!("/console/copy.js", SCRIPT, "copy.js"),
        page!("/console/dom.js", SCRIPT, "dom.js"),
        page!("/console/events.js", SCRIPT, "events.js"),
        page!("/console/format.js", SCRIPT, "format.js"),
        page!("/console/handlers.js", SCRIPT, "handlers.js"),
        page!("/console/plot.js", SCRIPT, "plot.js"),
        page!("/console/publish.js", SCRIPT, "publish.js"),
        page!("/console/sse.js", SCRIPT, "sse.js"),
        page!("/console/stats.js", SCRIPT, "stats.js"),
        page!("/console/stream.js", SCRIPT, "stream.js"),
        page!("/console/style.css", STYLE, "style.css"),
        page!("/console/theme.js", SCRIPT, "theme.js"),
        page!("/console/topics.js", SCRIPT, "topics.js"),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/console")).expect("hub/console");
        let there: BTreeSet<String> =
            folder.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
        let name = |path: &str| match path {
            "/" => "index.html".to_owned(),
            path => path.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        let served: BTreeSet<String> = super::pages().iter().map(|page| name(page.path)).collect();
        assert_eq!(there, served);
    }
}
