// Record what face-api.js makes of a pattern for test_face_api.py: writes numbers that `npz` there packs.
//
//     npm install @vladmandic/face-api@1.7.15 @tensorflow/tfjs@4.22.0 @tensorflow/tfjs-backend-wasm@4.22.0
//     node record_face_api.js > face_api.json && python -m tests.parity.test_face_api face_api.json
//
// The picture of each network has the side that it is shown, so that nothing is resized before.

require("@tensorflow/tfjs");
const faceapi = require("@vladmandic/face-api/dist/face-api.node-wasm.js");

function pattern(side) {
  const levels = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      for (let c = 0; c < 3; c++) {
        const sum = 3 * x * x + 5 * y * y + 7 * x * y + 90 * c + 11 * Math.floor(x / 4) * Math.floor(y / 3);
        levels[(y * side + x) * 3 + c] = Math.floor(sum / 16) % 256;
      }
    }
  }
  return faceapi.tf.tensor3d(levels, [side, side, 3], "int32");
}

(async () => {
  await faceapi.tf.setBackend("cpu");
  await faceapi.tf.ready();
  const { tinyFaceDetector, faceLandmark68Net, faceRecognitionNet } = faceapi.nets;
  const folder = "node_modules/@vladmandic/face-api/model";
  for (const net of [tinyFaceDetector, faceLandmark68Net, faceRecognitionNet]) await net.loadFromDisk(folder);
  const found = {
    finder: await tinyFaceDetector.forward(pattern(96), 96),
    landmarks: await faceLandmark68Net.forward(pattern(112)),
    recogniser: await faceRecognitionNet.forward(pattern(150)),
  };
  console.log(JSON.stringify(Object.fromEntries(Object.entries(found).map(([name, x]) => [name, [...x.dataSync()]]))));
})();
