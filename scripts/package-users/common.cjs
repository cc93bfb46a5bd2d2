/** A user whose project is CommonJS: Node 20.19 and newer can require() an ES module. */
const { MeshServer } = require('nestjs-mesh');

if (typeof MeshServer !== 'function') throw new Error(`MeshServer is ${typeof MeshServer}, not a class`);
const { TestMesh } = require('nestjs-mesh/testing');

if (typeof TestMesh !== 'function') throw new Error(`TestMesh is ${typeof TestMesh}, not a class`);
console.log('CommonJS: loaded');
