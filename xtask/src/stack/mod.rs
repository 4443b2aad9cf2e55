//! The stack of images: spec.yml, plans, tags, content keys, what changed, manifests.
