//! A build request as words of the docker command line. Knows nothing of where it runs.

use super::BuildRequest;

/// The options of `docker build` that say the same as the query of a request. Secrets are not among them: their values
/// are files, and where those lie is known to the caller alone.
pub fn words(request: &BuildRequest) -> Vec<String> {
    let mut words = Vec::new();
    let mut option = |name: &str, value: String| words.extend([format!("--{name}"), value]);
    request.tags.iter().for_each(|tag| option("tag", tag.to_string()));
    request.build_args.iter().for_each(|(name, value)| option("build-arg", format!("{name}={value}")));
    if request.inline_cache {
        option("build-arg", "BUILDKIT_INLINE_CACHE=1".to_owned());
    }
    request.labels.iter().for_each(|(name, value)| option("label", format!("{name}={value}")));
    request.cache_from.iter().for_each(|image| option("cache-from", image.clone()));
    request.extra_hosts.iter().for_each(|host| option("add-host", host.clone()));
    let optional = [
        ("target", request.target.clone()),
        ("platform", request.platform.clone()),
        ("network", request.network.clone()),
        ("shm-size", request.shm_size.map(|size| size.to_string())),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            option(name, value);
        }
    }
    if request.no_cache {
        words.push("--no-cache".to_owned());
    }
    words
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{ImageRef, Secret};

    #[test]
    fn every_field_becomes_words_but_secrets() {
        let request = BuildRequest {
            tags: ImageRef::parse("a/b:1").into_iter().collect(),
            build_args: BTreeMap::from([("K".to_owned(), "a b=c".to_owned())]),
            labels: BTreeMap::from([("l".to_owned(), "'x'".to_owned())]),
            target: Some("last".to_owned()),
            platform: Some("linux/amd64".to_owned()),
            network: Some("none".to_owned()),
            shm_size: Some(64),
            extra_hosts: vec!["h:1.2.3.4".to_owned()],
            cache_from: vec!["c:1".to_owned()],
            no_cache: true,
            inline_cache: true,
            secrets: vec![("token".to_owned(), Secret::new("hidden"))],
            ..Default::default()
        };
        let wanted = "--tag a/b:1 --build-arg K=a b=c --build-arg BUILDKIT_INLINE_CACHE=1 --label l='x' --cache-from c:1 \
                      --add-host h:1.2.3.4 --target last --platform linux/amd64 --network none --shm-size 64 --no-cache";
        assert_eq!(words(&request).join(" "), wanted);
    }
}
