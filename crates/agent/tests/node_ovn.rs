mod node_common;
