// Creates the site's user, who can use only the site's database. The image runs it once, on an empty
// data directory.

db.getSiblingDB("admin").createUser({
  user: "prm",
  pwd: process.env.MONGODB_PASSWORD,
  roles: [{ role: "readWrite", db: process.env.PRM_DATABASE_NAME }],
});
