use super::*;

type Tree = LevelTree<Option<u32>>;

fn add(tree: &mut Tree, path: &str, value: u32) -> NodeId {
    let node = tree.make(path.split('/'));
    *tree.value_mut(node) = Some(value);
    node
}

fn remove(tree: &mut Tree, path: &str) {
    let node = tree.find(path.split('/')).unwrap();
    *tree.value_mut(node) = None;
    tree.prune(node);
}

#[test]
fn removed_paths_leave_no_nodes_and_no_edges() {
    let mut tree = Tree::default();
    for path in ["a/b/c", "a/b", "a/x/y", "/", "b"] {
        add(&mut tree, path, 1);
    }
    assert_eq!(tree.nodes_len(), 5 + 2 + 1);
    remove(&mut tree, "a/b");
    assert_eq!(tree.nodes_len(), 8, "a/b leads to a/b/c and stays");
    remove(&mut tree, "a/b/c");
    assert_eq!(tree.nodes_len(), 6);
    for path in ["/", "a/x/y", "b"] {
        remove(&mut tree, path);
    }
    assert!(tree.is_empty());
    assert_eq!((tree.edges.len(), tree.first_child(ROOT)), (0, None));
    assert_eq!(tree.names.len(), 1, "the root's");
}

#[test]
fn siblings_stay_linked_when_one_between_goes() {
    let mut tree = Tree::default();
    for path in ["a", "b", "c", "d"] {
        add(&mut tree, path, 1);
    }
    for (gone, left) in [("b", "acd"), ("d", "ac"), ("a", "c")] {
        remove(&mut tree, gone);
        let mut levels = Vec::new();
        let mut next = tree.first_child(ROOT);
        while let Some(node) = next {
            levels.push(tree.level(node).to_owned());
            next = tree.next_sibling(node);
        }
        levels.sort();
        assert_eq!(levels.concat(), left);
    }
}

#[test]
fn tables_shrink_when_most_is_gone() {
    let mut tree = Tree::default();
    for number in 0..10_000 {
        add(&mut tree, &number.to_string(), number);
    }
    let full = tree.edges.capacity();
    for number in 100..10_000u32 {
        remove(&mut tree, &number.to_string());
    }
    assert!(tree.edges.capacity() < full / 10);
    for number in 0..100 {
        let node = tree.find([number.to_string().as_str()]).unwrap();
        assert_eq!(*tree.value(node), Some(number));
    }
}

#[test]
fn a_path_of_the_most_levels_is_made_found_pruned_and_dropped() {
    let deep = "/".repeat(65_534);
    let mut tree = Tree::default();
    add(&mut tree, &deep, 1);
    assert_eq!(tree.nodes_len(), 65_535);
    remove(&mut tree, &deep);
    assert!(tree.is_empty());
    add(&mut tree, &deep, 1);
    drop(tree);
}

#[test]
fn only_children_are_found_without_edges() {
    let mut tree = Tree::default();
    let [abc, abd] = ["a/b/c", "a/b/d"].map(|path| add(&mut tree, path, 1));
    assert_eq!(tree.edges.len(), 2, "of `b`, which alone has two children");
    assert_eq!(tree.find("a/b/c".split('/')), Some(abc));
    assert_eq!(tree.find("a/b/d".split('/')), Some(abd));
    assert_eq!(tree.find("a/x".split('/')), None);
    for (path, edges) in [("a/b/e", 3), ("x", 5), ("y", 6)] {
        add(&mut tree, path, 1);
        assert_eq!(tree.edges.len(), edges, "{path}");
    }
    for (path, edges) in [("x", 5), ("a/b/c", 4), ("a/b/d", 2), ("a/b/e", 0)] {
        remove(&mut tree, path);
        assert_eq!(tree.edges.len(), edges, "{path}");
    }
    assert!(tree.find(["y"]).is_some());
}

#[test]
fn a_node_is_no_larger_than_it_says() {
    assert_eq!(size_of::<Option<Node<Option<Key>>>>(), 24);
    assert_eq!(size_of::<Edge>(), 8);
}
