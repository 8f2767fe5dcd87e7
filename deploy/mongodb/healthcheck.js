// Well is a server that takes writes. The first check of a new one makes it a replica set.

// Asked by its name: while the image sets a new server up, that one answers on localhost only.
const admin = connect("mongodb://mongodb:27017/admin?directConnection=true");
admin.auth("root", process.env.MONGO_INITDB_ROOT_PASSWORD);

const hello = admin.hello();
if (!hello.setName) {
  admin.adminCommand({
    replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: "mongodb:27017" }] },
  });
}
quit(hello.isWritablePrimary ? 0 : 1);
