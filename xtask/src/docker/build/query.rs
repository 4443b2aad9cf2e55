//! The query of a build request. Knows nothing of the answer.

use std::collections::BTreeMap;

use super::BuildRequest;

/// `name=value&…`, percent-encoded.
pub fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(byte as char),
                _ => {
                    use std::fmt::Write;
                    let _ = write!(text, "%{byte:02X}");
                }
            }
        }
    }
    text
}

/// What both builders are told.
pub fn common(request: &BuildRequest) -> Vec<(&'static str, String)> {
    let mut pairs: Vec<(&'static str, String)> = vec![("dockerfile", "Dockerfile".to_owned())];
    pairs.extend(request.tags.iter().map(|tag| ("t", tag.to_string())));
    let mut args = request.build_args.clone();
    if request.inline_cache {
        args.insert("BUILDKIT_INLINE_CACHE".to_owned(), "1".to_owned());
    }
    let map = |map: &BTreeMap<String, String>| serde_json::json!(map).to_string();
    if !args.is_empty() {
        pairs.push(("buildargs", map(&args)));
    }
    if !request.labels.is_empty() {
        pairs.push(("labels", map(&request.labels)));
    }
    if !request.cache_from.is_empty() {
        pairs.push(("cachefrom", serde_json::json!(request.cache_from).to_string()));
    }
    let optional = [
        ("target", request.target.clone()),
        ("platform", request.platform.clone()),
        ("networkmode", request.network.clone()),
        ("shmsize", request.shm_size.map(|size| size.to_string())),
        ("nocache", request.no_cache.then(|| "1".to_owned())),
    ];
    pairs.extend(request.extra_hosts.iter().map(|host| ("extrahosts", host.clone())));
    pairs.extend(optional.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ImageRef;

    #[test]
    fn every_tag_and_every_odd_character_arrives() {
        let tags = ["a/b:1", "c:2"].iter().filter_map(|tag| ImageRef::parse(tag)).collect();
        let build_args = BTreeMap::from([("K".to_owned(), "a&b=ü".to_owned())]);
        let request = BuildRequest { tags, build_args, inline_cache: true, ..Default::default() };
        let text = encode(common(&request));
        assert!(text.contains("t=a%2Fb%3A1&t=c%3A2"), "{text}");
        assert!(text.contains("%22a%26b%3D%C3%BC%22"), "{text}");
        assert!(text.contains("BUILDKIT_INLINE_CACHE"), "{text}");
    }
}
