"""What is looked at: poses, camera, scene, and the buffers of a rendering."""
